-- to: bank_a
-- purpose: credit decision
-- expect: policy.refused
SELECT q.uscc, CASE WHEN m.arrears = 0 THEN 'a' WHEN m.arrears < 1000 THEN 'b' ELSE 'c' END AS decision
FROM bank_a.applicants q JOIN telecom.firms m USING (uscc)
