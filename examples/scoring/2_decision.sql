-- to bank_a: SME credit line review
-- trust parties
SELECT s.uscc,
       CASE WHEN s.base + s.w_tax * t.tax_paid - s.w_late * t.arrears >= s.cutoff THEN 'pass' ELSE 'review' END AS decision
FROM bank_a.scorecard s JOIN tax.firms t USING (uscc)
ORDER BY s.uscc
