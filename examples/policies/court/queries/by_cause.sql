-- to: analyst
-- purpose: judicial statistics
-- expect: allowed
SELECT cause, COUNT(*) AS cases, SUM(amount) AS amount, AVG(amount) AS mean FROM court.cases GROUP BY cause
