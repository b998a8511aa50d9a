-- to: analyst
-- purpose: judicial statistics
-- expect: policy.refused
SELECT SUM(amount) AS amount, SUM(CASE WHEN cause = 'labour' THEN 2 * amount ELSE amount END) AS weighed FROM court.cases
