-- to bank_a: SME credit line review
SELECT q.uscc
FROM bank_a.applicants q JOIN bank_b.accounts b USING (uscc)
GROUP BY q.uscc ORDER BY q.uscc
