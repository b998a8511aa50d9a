-- to analyst: credit risk study
SELECT l.grade, COUNT(*) AS loans, AVG(t.annual_inc) AS income, AVG(h.revol_util) AS credit_used,
       COUNT(*) FILTER (WHERE l.class = 'bad') AS bad
FROM bank.loans l JOIN tax.incomes t USING (loan_id) JOIN bureau.histories h USING (loan_id)
GROUP BY l.grade ORDER BY l.grade
