-- to: analyst
-- purpose: market study
-- expect: policy.refused
SELECT industry, SUM(balance) AS balance FROM bank_b.accounts GROUP BY industry
