-- to: analyst
-- purpose: market study
-- expect: refused
SELECT MAX(balance) AS largest FROM (
  SELECT industry, balance FROM bank_a.accounts UNION ALL SELECT industry, balance FROM bank_b.accounts)
