-- to: analyst
-- purpose: SME credit line review
-- expect: allowed
SELECT industry, COUNT(*) AS firms, SUM(tax_paid) AS paid FROM tax.firms GROUP BY industry
