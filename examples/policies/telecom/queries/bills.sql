-- to: analyst
-- purpose: SME credit line review
-- expect: allowed
SELECT m.size, SUM(m.spend) AS spend FROM telecom.firms m JOIN bank_a.accounts a USING (uscc) GROUP BY m.size
