-- to: supervisor
-- purpose: supervision
-- expect: policy.pending
SELECT industry, SUM(outstanding) AS overdue FROM bank_b.accounts WHERE overdue_days > 90 GROUP BY industry
