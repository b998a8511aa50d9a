-- to analyst: supply chain study
SELECT t.industry, COUNT(*) AS suppliers, SUM(COALESCE(a.paid, 0) + COALESCE(m.paid, 0)) AS bought,
       SUM((COALESCE(a.paid, 0) + COALESCE(m.paid, 0)) * (COALESCE(a.paid, 0) + COALESCE(m.paid, 0)))
           / (SUM(COALESCE(a.paid, 0) + COALESCE(m.paid, 0)) * SUM(COALESCE(a.paid, 0) + COALESCE(m.paid, 0))) AS hhi
FROM tax.firms t LEFT JOIN bank_a.suppliers a USING (uscc) LEFT JOIN telecom.suppliers m ON m.uscc = t.uscc
WHERE (a.uscc IS NOT NULL OR m.uscc IS NOT NULL) AND t.industry IN ('C', 'E', 'F', 'L', 'M')
GROUP BY t.industry ORDER BY t.industry
