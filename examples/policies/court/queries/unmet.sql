-- to: bank_a
-- purpose: credit decision
-- expect: policy.pending
SELECT q.uscc, CASE WHEN c.unmet = 0 THEN 'pass' ELSE 'review' END AS decision
FROM bank_a.applicants q JOIN court.cases c USING (uscc)
