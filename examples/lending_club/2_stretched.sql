-- to analyst: credit risk study
SELECT CASE WHEN l.term = 'term_36' THEN 'three years' ELSE 'five years' END AS term, COUNT(*) AS stretched,
       COUNT(*) FILTER (WHERE l.class = 'bad') AS bad
FROM bank.loans l JOIN tax.incomes t USING (loan_id) JOIN bureau.histories h USING (loan_id)
WHERE l.funded_amnt > 0.3 * t.annual_inc AND h.inq_last_6mths > 0
GROUP BY term ORDER BY term
