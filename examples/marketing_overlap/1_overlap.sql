-- to analyst: joint marketing study
SELECT COUNT(DISTINCT m.uscc) AS customers_of_both
FROM telecom.firms m JOIN bank_b.accounts b USING (uscc)
