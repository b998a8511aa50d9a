-- to analyst: SME credit line review
SELECT t.region, t.industry, COUNT(DISTINCT t.uscc) AS firms, SUM(a.outstanding) AS owed,
       SUM(CASE WHEN a.overdue_days = 0 THEN t.tax_paid END) AS tax_of_punctual, SUM(m.spend) AS phone
FROM tax.firms t JOIN bank_a.accounts a USING (uscc) JOIN telecom.firms m USING (uscc)
WHERE a.outstanding > 0 AND t.region IN ('320000', '330000', '370000', '440000') AND t.industry IN ('C', 'F', 'L')
GROUP BY t.region, t.industry ORDER BY t.region, t.industry
