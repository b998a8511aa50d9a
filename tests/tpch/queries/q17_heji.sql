-- quantities below a constant in place of a fifth of each part's average
SELECT SUM(l_extendedprice) / 7.0 AS avg_yearly
FROM shipping.lineitem, supply.part
WHERE p_partkey = l_partkey AND p_brand = 'Brand#23' AND p_container LIKE 'MED%' AND l_quantity < 5
