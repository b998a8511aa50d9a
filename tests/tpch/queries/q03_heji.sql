-- totals of the segment by priority, in place of single orders; orders published with their customer's segment
SELECT o_orderpriority, SUM(l_extendedprice * (1 - l_discount)) AS revenue, COUNT(*) AS lines
FROM sales.orders_of_customers JOIN shipping.lineitem ON l_orderkey = o_orderkey
WHERE c_mktsegment = 'BUILDING' AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15'
GROUP BY o_orderpriority
ORDER BY o_orderpriority
