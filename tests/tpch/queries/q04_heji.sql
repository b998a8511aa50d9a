-- EXISTS as a join that counts orders
SELECT o_orderpriority, COUNT(DISTINCT o_orderkey) AS order_count
FROM sales.orders JOIN shipping.lineitem ON l_orderkey = o_orderkey
WHERE o_orderdate >= DATE '1993-07-01' AND o_orderdate < DATE '1993-07-01' + INTERVAL '3' MONTH
  AND l_commitdate < l_receiptdate
GROUP BY o_orderpriority
ORDER BY o_orderpriority
