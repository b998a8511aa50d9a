-- to: analyst
-- purpose: SME credit line review
-- expect: policy.refused
SELECT contract, COUNT(*) AS customers FROM telecom.customers GROUP BY contract
