-- to tax: monthly arrears statistics
-- method paillier
SELECT size, COUNT(*) AS firms, SUM(arrears) AS arrears
FROM (SELECT size, arrears FROM bank_a.accounts WHERE arrears > 0
      UNION ALL SELECT size, arrears FROM bank_b.accounts WHERE arrears > 0
      UNION ALL SELECT size, arrears FROM telecom.firms WHERE arrears > 0) AS owed
GROUP BY size ORDER BY size
