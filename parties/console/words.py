"""The console's words in Chinese, by their English originals. A test finds what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

CHINESE: Mapping[str, str] = {
    "Console of {}": "{} 的控制台",
    "Log in": "登录",
    "Log out": "退出",
    "Your token": "您的口令",
    "Made for you by heji node console-token. Your name stands beside your decisions.": (
        "由 heji node console-token 为您生成。您的姓名会与您的决定一起记录。"
    ),
    "This is nobody's token.": "没有人持有这个口令。",
    "Too many wrong tokens: wait a minute.": "错误次数过多：请等一分钟。",
    "Overview": "概览",
    "Waiting for you": "等待您决定",
    "Policy in force": "现行策略",
    "What was released": "已释放的结果",
    "Nothing waits.": "没有等待决定的请求。",
    "Nothing yet.": "还没有。",
    "One request waits for your decision.": "有一个请求等待您决定。",
    "{} requests wait for your decision.": "有 {} 个请求等待您决定。",
    "Member": "成员",
    "Consortium": "联合体",
    "Roster": "名册",
    "version {}": "第 {} 版",
    "Jobs under way": "正在进行的任务",
    "Tables": "数据表",
    "rows published": "公布的行数",
    "Grants": "授权",
    "Disk": "磁盘",
    "{} GB free": "剩余 {} GB",
    "Evidence log": "证据日志",
    "{} entries, cosigned by {}": "{} 条记录，联署者：{}",
    "Keys valid until": "密钥有效期至",
    "Request": "请求",
    "From": "提交者",
    "To": "接收方",
    "Purpose": "用途",
    "none given": "未说明",
    "Asked": "提出时间",
    "Expires": "失效时间",
    "What it would do, and who would learn what": "它会做什么，谁会得知什么",
    "Reason": "理由",
    "Whoever asked is told.": "会告知提交者。",
    "Approve": "批准",
    "Reject": "拒绝",
    "A rejection needs a reason.": "拒绝须写明理由。",
    "Approved. The job runs when the others agree.": "已批准。其他各方同意后任务即运行。",
    "policy.toml has changed since the question: it is asked again, and this approval is void.": (
        "提问之后 policy.toml 已改变：将重新询问，本次批准无效。"
    ),
    "Rejected. Whoever asked is told why.": "已拒绝。提交者会得知理由。",
    "Your approval is kept. Another person has to approve too.": "您的批准已记录。还须另一人批准。",
    "Standing approvals": "常设批准",
    "It has changed since this page was shown. Look again.": "页面显示之后内容已改变。请重新查看。",
    "Each lets one query run without asking anybody, with parameters from a declared set. See standing.toml.": (
        "每一项允许一个查询以声明范围内的参数运行，无须再询问任何人。它们写在 standing.toml 中。"
    ),
    "Not in force: nobody has approved it under the policy as it stands.": "未生效：在现行策略下还没有人批准它。",
    "Parameters": "参数",
    "Used": "已用",
    "{} of {} ({})": "{} / {}（{}）",
    "day": "每日",
    "month": "每月",
    "year": "每年",
    "all": "总计",
    "Until": "至",
    "Withdraw": "撤回",
    "No job runs by it: no member is called {}.": "不会有任务据此运行：没有名为 {} 的成员。",
    "Released here before": "本节点此前已释放",
    "The same": "相同之处",
    "may have been released": "可能已释放",
    "and {} more": "以及另外 {} 项",
    "Nothing to the same recipient or of the same columns.": "没有给同一接收方或涉及相同列的结果。",
    "Approved by": "已批准者",
    "Still missing": "尚缺",
    "one more person": "还差一人",
    "two persons": "两人",
    "Stop the node": "停止节点",
    "Stop now": "立即停止",
    "Resume": "恢复",
    "Stopped since {} by {}. No job runs here.": "自 {} 起由 {} 停止。本节点不运行任何任务。",
    "Jobs run again under policy.toml as it stands. What was withdrawn stays withdrawn.": (
        "任务将按现行 policy.toml 重新运行。已撤回的仍然撤回。"
    ),
    "Running jobs end at once, nothing is approved until somebody resumes, also after a restart. "
    "What waits, what was approved and has not run, and all standing approvals are withdrawn.": (
        "正在运行的任务立即结束；在有人恢复之前不批准任何请求，重新启动后也是如此。等待中的、已批准而未运行的，以及所有常设批准，一律撤回。"
    ),
    "Whoever asked for what is withdrawn is told.": "会告知被撤回请求的提交者。",
    "Decided before": "此前的决定",
    "{} by {}": "{}，由 {}",
    "approved": "已批准",
    "rejected": "已拒绝",
    "pending": "等待中",
    "it has run": "任务已运行",
    "over, ended elsewhere": "已了结：任务已在别处结束",
    "over, it has expired": "已了结：请求已过期",
    "The text of policy.toml as it stands now. Change the file; the next job is judged by it.": (
        "policy.toml 的现行文本。修改该文件即可；下一个任务即按新文本判断。"
    ),
    "Digest": "摘要",
    "policy.toml cannot be read: nothing is approved.": "policy.toml 无法读取：不会批准任何请求。",
    "Line": "行",
    "Columns": "列",
    "Uses": "用途类别",
    "Limits": "限制",
    "each job waits for you": "每个任务都等待您决定",
    "each job waits for two persons": "每个任务都等待两人决定",
    "at least {} entities a cell": "每格至少 {} 个主体",
    "at least {} institutions": "至少 {} 家机构",
    "with noise, epsilon {} in {} days": "带噪声：ε 为 {}，周期 {} 天",
    "Budgets of privacy loss": "隐私预算",
    "Left": "剩余",
    "epsilon {} in {} days": "ε 为 {}，周期 {} 天",
    "no entity above {} of a sum": "任何主体不超过总和的 {}",
    "sums rounded to {}": "合计舍入到 {} 的倍数",
    "at most {} numbers over one population": "同一群体至多披露 {} 个数",
    "until {}": "至 {}",
    "nothing": "无",
    "When": "时间",
    "State": "状态",
    "approved here": "本节点已批准",
    "under way": "进行中",
    "sending": "发送中",
    "given up": "已放弃",
    "done": "完成",
    "released": "已释放",
    "Conditions shown of single entities in the last {} days": "最近 {} 天内对单个主体显示的条件",
    "Column": "列",
    "To whom": "对谁",
    "Conditions": "条件数",
    "This page is not there.": "没有这个页面。",
    "The form is not from this session. Go back and try again.": "表单不属于本次登录。请返回重试。",
    "Back": "返回",
    "中文": "English",
}


def speaker(language: str) -> Callable[..., str]:
    """Says a template with its arguments in a language ("zh", else English)."""

    def say(template: str, *args: object) -> str:
        return (CHINESE.get(template, template) if language == "zh" else template).format(*args)

    return say
