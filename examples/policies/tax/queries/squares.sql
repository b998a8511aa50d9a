-- to: analyst
-- purpose: SME credit line review
-- expect: policy.refused
SELECT VARIANCE(tax_paid) AS spread FROM tax.firms
