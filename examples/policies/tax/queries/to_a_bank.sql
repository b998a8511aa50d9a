-- to: bank_a
-- purpose: SME credit line review
-- expect: policy.refused
SELECT industry, SUM(tax_paid) AS paid FROM tax.firms GROUP BY industry
