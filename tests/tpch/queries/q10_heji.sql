-- by the customer's nation in place of single customers; orders published with customer and nation
SELECT c_nation, SUM(l_extendedprice * (1 - l_discount)) AS revenue
FROM sales.orders_of_customers JOIN shipping.lineitem ON l_orderkey = o_orderkey
WHERE o_orderdate >= DATE '1993-10-01' AND o_orderdate < DATE '1993-10-01' + INTERVAL '3' MONTH AND l_returnflag = 'R'
GROUP BY c_nation
ORDER BY revenue DESC
LIMIT 20
