-- to: bank_a
-- purpose: credit decision
-- expect: policy.refused
SELECT q.uscc FROM bank_a.applicants q JOIN court.cases c USING (uscc) WHERE c.amount > 100000
