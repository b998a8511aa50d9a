-- to supply: what each of its own suppliers shipped; it takes the largest itself
SELECT s_suppkey, SUM(l_extendedprice * (1 - l_discount)) AS total_revenue
FROM supply.supplier JOIN shipping.lineitem ON s_suppkey = l_suppkey
WHERE l_shipdate >= DATE '1996-01-01' AND l_shipdate < DATE '1996-01-01' + INTERVAL '3' MONTH
GROUP BY s_suppkey
ORDER BY total_revenue DESC
LIMIT 1
