-- to analyst: joint marketing study
SELECT m.size, COUNT(DISTINCT m.uscc) AS customers_of_both, SUM(m.spend) AS phone
FROM telecom.firms m JOIN bank_b.accounts b USING (uscc)
WHERE b.opened < DATE '2022-01-01'
GROUP BY m.size ORDER BY m.size
