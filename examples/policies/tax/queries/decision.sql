-- to: bank_a
-- purpose: credit decision
-- expect: policy.pending
SELECT q.uscc, CASE WHEN t.tax_paid >= 20000 THEN 'pass' ELSE 'review' END AS decision
FROM bank_a.applicants q JOIN tax.firms t USING (uscc)
