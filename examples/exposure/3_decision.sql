-- to bank_a: SME credit line review
SELECT q.uscc, q.wish,
       CASE WHEN 5 * t.tax_paid >= q.wish AND t.arrears = 0 AND m.arrears = 0 THEN 'pass' ELSE 'review' END AS decision
FROM bank_a.applicants q JOIN tax.firms t USING (uscc) LEFT JOIN telecom.firms m USING (uscc)
ORDER BY q.uscc
