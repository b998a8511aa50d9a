-- to: analyst
-- purpose: judicial statistics
-- expect: policy.refused
SELECT cause, STDDEV(amount) AS spread FROM court.cases GROUP BY cause
