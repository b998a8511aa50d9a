-- to: analyst
-- purpose: marketing overlap
-- expect: policy.refused
SELECT SUM(m.spend) AS spend FROM telecom.firms m JOIN bank_a.accounts a USING (uscc)
