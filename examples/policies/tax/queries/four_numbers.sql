-- to: analyst
-- purpose: SME credit line review
-- expect: policy.refused
SELECT SUM(tax_paid) AS a, SUM(tax_paid + arrears) AS b, SUM(2 * tax_paid) AS c, SUM(3 * tax_paid - arrears) AS d
FROM tax.firms
