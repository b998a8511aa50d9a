-- to: supervisor
-- purpose: supervision
-- expect: policy.refused
SELECT SUM(balance) AS balance FROM bank_b.accounts
