-- to: analyst
-- purpose: marketing overlap
-- expect: allowed
SELECT COUNT(*) AS shared FROM bank_a.accounts a JOIN telecom.firms m USING (uscc)
