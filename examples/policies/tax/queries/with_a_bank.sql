-- to: analyst
-- purpose: SME credit line review
-- expect: allowed
SELECT t.industry, SUM(t.tax_paid) AS paid
FROM tax.firms t JOIN bank_a.accounts a USING (uscc) GROUP BY t.industry
