-- to bank_a: SME credit line review
SELECT q.uscc, q.wish, SUM(l.arrears) AS unpaid, COUNT(l.arrears) AS entries
FROM bank_a.applicants q
JOIN (SELECT uscc, arrears FROM tax.firms
      UNION ALL SELECT uscc, arrears FROM bank_a.accounts
      UNION ALL SELECT uscc, arrears FROM bank_b.accounts
      UNION ALL SELECT uscc, arrears FROM telecom.firms) l USING (uscc)
GROUP BY q.uscc, q.wish ORDER BY q.uscc
