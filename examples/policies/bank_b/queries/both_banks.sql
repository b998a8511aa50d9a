-- to: analyst
-- purpose: market study
-- expect: allowed
SELECT industry, SUM(balance) AS balance FROM (
  SELECT industry, balance FROM bank_a.accounts UNION ALL SELECT industry, balance FROM bank_b.accounts) GROUP BY industry
