-- to: bank_a
-- purpose: market study
-- expect: plan.two_party
SELECT SUM(balance) AS balance FROM (
  SELECT industry, balance FROM bank_a.accounts UNION ALL SELECT industry, balance FROM bank_b.accounts)
