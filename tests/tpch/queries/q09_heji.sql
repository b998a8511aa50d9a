-- by nation only: the order's year lies behind another key; part, supplier and nation published beside each offer
SELECT n_name, SUM(l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity) AS sum_profit
FROM supply.offers JOIN shipping.lineitem ON ps_partkey = l_partkey AND ps_suppkey = l_suppkey
WHERE p_name LIKE '%green%'
GROUP BY n_name
ORDER BY n_name
