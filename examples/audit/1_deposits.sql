-- to analyst: financial stability report
SELECT size, COUNT(*) AS accounts, SUM(balance) AS deposits
FROM (SELECT size, balance FROM bank_a.accounts UNION ALL SELECT size, balance FROM bank_b.accounts)
GROUP BY size ORDER BY size
