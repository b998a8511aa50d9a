-- to: analyst
-- purpose: SME credit line review
-- expect: policy.refused
SELECT SUM(turnover) AS turnover FROM tax.firms
