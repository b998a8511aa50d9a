-- to: bank_a
-- purpose: credit decision
-- expect: policy.refused
SELECT q.uscc, t.tax_paid FROM bank_a.applicants q JOIN tax.firms t USING (uscc)
