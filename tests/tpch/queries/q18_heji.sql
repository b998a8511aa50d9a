-- to sales: the quantity of each of its own orders; HAVING is applied by sales itself
SELECT o_orderkey, c_name, o_orderdate, o_totalprice, SUM(l_quantity) AS quantity
FROM sales.orders_of_customers JOIN shipping.lineitem ON o_orderkey = l_orderkey
GROUP BY o_orderkey, c_name, o_orderdate, o_totalprice
HAVING SUM(l_quantity) > 300
ORDER BY o_totalprice DESC, o_orderdate
LIMIT 100
