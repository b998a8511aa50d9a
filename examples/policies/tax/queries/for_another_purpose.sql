-- to: analyst
-- purpose: marketing
-- expect: policy.refused
SELECT industry, SUM(tax_paid) AS paid FROM tax.firms GROUP BY industry
