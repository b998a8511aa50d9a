"""The words of the report in Chinese, by their English originals. A test finds what is missing."""

from __future__ import annotations

from collections.abc import Mapping

CHINESE: Mapping[str, str] = {
    # checks
    "signatures": "签名",
    "logs and cosignatures": "日志与联署",
    "sequence": "顺序",
    "messages and receipts": "消息与回执",
    "one job, plan and roster; approvals": "同一作业、计划与名册；批准",
    "policies": "策略",
    "commitments before data": "先承诺，后发送数据",
    "points of verified sums": "可验证求和的点",
    "the coordinator's additions": "协调方的加法",
    "the verified-sum equation": "可验证求和等式",
    "result as acknowledged": "结果与确认一致",
    "budgets": "预算",
    "suppression": "小单元格隐藏",
    "no second run on fewer parties": "没有在更少机构上重算",
    "software": "软件",
    "times": "时间",
    # findings
    "{} signatures verify under keys of the roster": "{} 个签名均可用名册中的公钥验证",
    "{} messages: both ends hold the same digest, each with the receiver's signed receipt": (
        "{} 条消息：两端摘要一致，且每条都有接收方签名的回执"
    ),
    "attempt {}: all signed one digest of job, plan, roster, approvals and keys before data moved": (
        "第 {} 次执行：数据移动之前，各方都签署了同一个摘要（作业、计划、名册、批准、密钥）"
    ),
    "the policy given for {} is not the one it approved under": "所附 {} 的策略不是它批准时所依据的策略",
    "the policy of {} cannot be tried: the plan is of another version": "无法重新核对 {} 的策略：计划出自另一版本",
    "the policy of {} does not allow the plan: {}": "{} 的策略不允许该计划：{}",
    "the policy of {} allows the plan": "{} 的策略允许该计划",
    "the job asked for no verified sums": "该作业没有要求可验证求和",
    "masked vectors are in no bundle: the coordinator's sums rest on its signed log and on replay": (
        "掩码向量不在证据包中：协调方的求和以其签名日志和重放为据"
    ),
    "the key that deposits are encrypted under does not bear the signature of {}": "加密存入所用的公钥没有 {} 的签名",
    "the deposit of {} is not for this job, plan, key and approval, under its signature": (
        "{} 的存入与本作业、计划、公钥、批准不符，或没有其签名"
    ),
    "{} holds a receipt for its deposit, which is not in the total": "{} 持有其存入的回执，但总数中没有它",
    "the deposits of others are at the coordinator and the recipient": "其他存入由协调方和接收方保存",
    "a total of fewer deposits than the job's minimum was handed on": "交出的总数所含存入少于作业要求的最少家数",
    "{} deposited, each by its signature for this job, plan and key of {}": (
        "{} 已存入，各自签名，均针对本作业、计划和 {} 的公钥"
    ),
    "deposits are in no bundle: the coordinator's total rests on its signed log": (
        "存入的密文不在证据包中：协调方的总数以其签名日志为据"
    ),
    "a message of {} at {} is not the one in the log": "{} 在 {} 的消息与日志中的不同",
    "the key sealed with the ciphertexts is not the one that the job names": "与密文一起密封的公钥不是作业所指的公钥",
    "lattice ciphertexts are added up again where the package for it is installed: {}": (
        "重新相加格密码（BFV、CKKS）密文需要安装相应的软件包：{}"
    ),
    "the coordinator did not add up what it heard: {}": "协调方没有把它收到的内容正确相加：{}",
    "attempt {}: {} messages to the coordinator add up to what it handed on": (
        "第 {} 次执行：协调方收到的 {} 条消息相加，等于它交出的总数"
    ),
    "{} sent data in attempt {} before it bound itself to points": (
        "{} 在第 {} 次执行中先发送数据，后才公布承诺点的摘要"
    ),
    "{} bound itself to points before it sent data in attempt {}": "{} 先公布承诺点的摘要，后在第 {} 次执行中发送数据",
    "{} verified that the sums are of what the parties bound themselves to": "{} 已验证：总和正是各方所承诺数值之和",
    "{} opened the sums without verifying them": "{} 打开了总和而没有验证",
    "needs all jobs of a period": "需要一个时期内的全部作业",
    "times do not run backwards, and approvals lie within the job's time": "时间没有倒退，批准都在作业有效期之内",
    "the roster lacks the signature of {}": "名册缺少 {} 的签名",
    "judged by the bundle's own roster: compare its digest {}": "依据证据包自带的名册判断：请核对其摘要 {}",
    "{} did not sign this bundle": "{} 没有签署此证据包",
    "the log of {} is not in the bundle": "证据包中没有 {} 的日志",
    "{} entries of {} lie in its log of {}, cosigned by {}": "{} 条记录属于 {} 的日志（共 {} 条），联署者：{}",
    "{} entries of {} lie in its log of {}, cosigned by {}: {} are needed": (
        "{} 条记录属于 {} 的日志（共 {} 条），联署者：{}；需要 {} 个联署"
    ),
    "the witness {} did not cosign the log of {}": "见证方 {} 没有联署 {} 的日志",
    "of messages from and to {} only the other end is here": "与 {} 往来的消息只有另一端的记录",
    "attempt {}: {} approved another plan than the job's text compiles to": (
        "第 {} 次执行：{} 批准的计划不是作业文本编译所得"
    ),
    "{} leaves out a message {} {} in attempt {}": "{} 漏记了一条消息（{} {}，第 {} 次执行）",
    "attempt {}: planned by {}, this verifier has {}: not compiled again": (
        "第 {} 次执行：由 {} 制定计划，本验证程序为 {}：未重新编译"
    ),
    "attempt {} ended before keys were agreed": "第 {} 次执行在商定密钥之前结束",
    "attempt {}: not all participants agreed, or others did": "第 {} 次执行：并非全体参与方都同意，或有旁人同意",
    "a checkpoint of {} does not bear its signature": "{} 的一个检查点没有它的签名",
    "a checkpoint in the part of {} is of another log": "{} 部分中的一个检查点属于另一日志",
    "entry {} of {} is not in its log of {} entries": "第 {} 条记录不在 {} 的日志（共 {} 条）之中",
    "the newest checkpoint of {} does not continue the one of {} entries": "{} 的最新检查点没有延续 {} 条时的检查点",
    "{} told of the job in {} entries without a gap": "{} 关于此作业的 {} 条记录没有缺漏",
    "{} does not follow the entry before it": "{} 没有接续前一条记录",
    "{} told two stories: its entry {} about the job is another one in the bundle of {} than in that of {}": (
        "{} 说法不一：其关于此作业的第 {} 条记录在 {} 的证据包与 {} 的证据包中不同"
    ),
    "{} tells of one message twice": "{} 两次记录了同一条消息",
    "{} is not in the log of {}": "{} 不在 {} 的日志中",
    "{} is another message in the log of {}": "{} 在 {} 的日志中是另一条消息",
    "{} kept another job under this id": "{} 在此编号下保存了另一作业",
    "the job names another roster than the one it is judged by, {}": "作业所指名册与判断所依据的名册（{}）不同",
    "{} was shown other catalogs or approvals in attempt {} than others were": (
        "{} 在第 {} 次执行中看到的目录或批准与他方不同"
    ),
    "{} was shown other keys in attempt {} than others were": "{} 在第 {} 次执行中看到的密钥与他方不同",
    "the approval of {} is not of this job, member and roster": "{} 的批准不是针对此作业、成员与名册",
    "the approval of {} is not the one in its log": "{} 的批准与其日志中的不一致",
    "{} sent data before it approved": "{} 在批准之前发送了数据",
    "attempt {}: {} approved what the job's text compiles to": "第 {} 次执行：{} 批准了作业文本编译所得的计划",
    "{} ran {}": "{} 运行 {}",
    "{} ran {}, which is not what was to run": "{} 运行 {}，这不是应运行的版本",
    "cannot be looked at: {}": "无法查看：{}",
    "{} does not bear the signature of {}": "{} 没有 {} 的签名",
    "a {} in the name of {}, kept by {}, does not bear its signature": (
        "一份 {}（以 {} 的名义，由 {} 保存）没有其签名"
    ),
    "{} was signed when {}'s key was not valid": "{} 签署时 {} 的密钥不在有效期内",
    "entry {} of {} is about another job": "第 {} 条记录（{}）属于另一作业",
    "an entry of {} is missing before its entry {} about the job": "{} 关于此作业的第 {} 条记录之前有缺漏",
    "{} has a receipt that {} did not sign": "{} 的回执不是 {} 签署的",
    "{} has no receipt, though the attempt ended well": "{} 没有回执，而该次执行正常结束",
    "attempt {}: {} agreed to something else than what is in the bundle": "第 {} 次执行：{} 同意的内容与证据包不同",
    "attempt {}: the key of {} does not bear its signature": "第 {} 次执行：{} 的密钥没有其签名",
    "attempt {}: {} told {} another key or digest than the others": (
        "第 {} 次执行：{} 告诉 {} 的密钥或摘要与告诉他方的不同"
    ),
    "{} did not give its policy: rests on its signed approval of attempt {}": (
        "{} 未提供其策略：以其对第 {} 次执行的签名批准为据"
    ),
    "{} sent no data in attempt {}": "{} 在第 {} 次执行中没有发送数据",
    "{} sent data in attempt {} before it bound itself to data and seed": (
        "{} 在第 {} 次执行中先发送数据，后才对数据与种子作出承诺"
    ),
    "{} bound itself to its data and seed before it sent data in attempt {}": (
        "{} 先对数据与种子作出承诺，后在第 {} 次执行中发送数据"
    ),
    "the result given for {} is the one it acknowledged": "所附 {} 的结果与其确认的一致",
    "the result given for {} is not the one in its log": "所附 {} 的结果与其日志中的不一致",
    "{} acknowledged a result (digest {}); it did not give it": "{} 确认收到结果（摘要 {}），但未提供结果本身",
    "{} acknowledged no result in this bundle": "证据包中没有 {} 对结果的确认",
    "{} kept cells of fewer than {} entities and {} institutions hidden by its signed word": (
        "{} 以签名声明：少于 {} 个主体或 {} 家机构的单元格均已隐藏"
    ),
    "{} is earlier than the one before it": "{} 的时间早于前一条",
    "{} cosigned the log of {} before its last entry was made": "{} 在 {} 的最后一条记录产生之前就联署了其日志",
    "{} approved outside of the job's time": "{} 在作业有效期之外批准",
    # of what was released
    "{} gave something for a point of {} that is none": "{} 所附 {} 的一个点不是有效的点",
    "the points of {} that {} gave are not those it signed the hash of": "{} 的点（由 {} 提供）与其签名的摘要不符",
    "the points of {} that {} gave are not those in its log": "{} 的点（由 {} 提供）与其日志中的不同",
    "{} points that {} gave are valid, signed before data moved, and those in the logs": (
        "{} 个点（由 {} 提供）均有效，在数据移动之前已签名，且与日志一致"
    ),
    "what {} opened does not verify: {}": "{} 打开的内容未能通过验证：{}",
    "the equation holds for all {} sums that {} opened": "等式对全部 {} 个总和（由 {} 打开）成立",
    "the statement of {} is of another job, recipient or plan": "{} 的说明属于另一作业、接收方或计划",
    "the table of {} is by row, beside rows of its own: not computed again": (
        "{} 的结果是按行的，与其自己的行并列：未重新计算"
    ),
    "the table of {} is what the plan computes from the words it opened": "{} 的结果表正是计划由其打开的数值算得",
    "the table of {} is not what the plan computes from the words it opened": ("{} 的结果表不是计划由其打开的数值算得"),
    "{}: a suppressed value of {} is shown": "{}：{} 的一个已隐藏的值被显示",
    "{}: the statement tells of another number of suppressed values than the table": (
        "{}：说明中隐藏值的个数与结果表不同"
    ),
    "{}: {} values are suppressed, and none of them is shown": "{}：隐藏了 {} 个值，均未显示",
    "{}: a cell of {} rows is shown, where {} are the fewest": "{}：显示了一个只有 {} 行的单元格，而至少应有 {} 行",
    "{}: {} shown cells have at least {} rows each": "{}：显示的 {} 个单元格各至少有 {} 行",
    "{}: a total of {} is shown beside groups of which one is hidden: it gives it back": (
        "{}：{} 的总计与只隐藏一组的分组并列显示：由此可推出被隐藏的值"
    ),
    # of a period
    "no job began in this period": "这一时期内没有作业开始",
    "what {} approved in attempt {} is not here, though it sent data": (
        "{} 在第 {} 次执行中发送了数据，但其批准文件不在此"
    ),
    "what {} says of its log before the period does not hold together": "{} 关于此时期之前日志的说法自相矛盾",
    "the entries of {} do not begin where its log of {} entries ended": (
        "{} 的记录没有从其日志（当时共 {} 条）的末尾接续"
    ),
    "the entries of {} are not all that its log got until it had {}": "{} 的记录不是其日志增至 {} 条期间的全部记录",
    "the log of {} is here from its first entry on": "{} 的日志从第一条记录起都在此",
    "others saw the log of {} before the period began": "在此时期开始之前，他方已见证 {} 的日志",
    "nobody else saw the log of {} before the period began: entries of it may be left out": (
        "在此时期开始之前没有他方见证 {} 的日志：可能有记录被略去"
    ),
    "nobody else saw the log of {} after the period was over: its end rests on its word": (
        "在此时期结束之后没有他方见证 {} 的日志：其结尾以它自己的说法为据"
    ),
    "{} told of {} jobs in {} entries without a gap": "{} 关于 {} 个作业的 {} 条记录没有缺漏",
    "{} jobs began before: only what {} wrote since is here": "{} 个作业在此之前开始：此处只有 {} 之后写下的记录",
    "{} approved an attempt twice, or one before an earlier one": "{} 两次批准了同一次执行，或次序颠倒",
    "no job and no attempt was approved twice": "没有作业或执行被批准两次",
    "{}: {} comes to {} in {} days, where {} are allowed": "{}：{} 达到 {}（{} 天内），而只允许 {}",
    "{}: {} came to {} at most": "{}：{} 最多达到 {}，在限额之内",
    "{}: {} counts what was spent before the period too, which is not here": (
        "{}：{} 还应计入此时期之前的使用，而那些记录不在此"
    ),
    "{} showed {} conditions on {} to {} without writing it down": "{} 展示了 {} 个条件（{}，对 {}）而没有记录",
    "{} gave nothing that counts against a limit": "{} 没有提供计入限额的内容",
    "{} opened other tables than it bound itself to in attempt {}": "{} 出示的数据表摘要与其在第 {} 次执行中承诺的不同",
    "{} gave data to totals for others in {} attempts": "{} 在 {} 次执行中为他方的合计提供了数据",
    "{} attempts were planned by another version: not compiled again": "{} 次执行由另一版本制定计划：未重新编译",
    "{}: whether {} had changed when it was added to others' than before": (
        "{}：{} 与另一组机构相加时，数据是否已有变化，无从得知"
    ),
    "{} added the same {} to totals of {} and of {}: their difference shows what others added": (
        "{} 把同样的 {} 先后加入 {} 与 {} 的合计：两者之差会显示他方的数值"
    ),
    "{} added the same {} to totals of {} and of {}, which its policy forbids": (
        "{} 把同样的 {} 先后加入 {} 与 {} 的合计，而其策略禁止这样做"
    ),
    "{} added the same {} to totals of {} and of {}, as its policy allows": (
        "{} 把同样的 {} 先后加入 {} 与 {} 的合计，其策略允许这样做"
    ),
    "the log of {} bears no timestamp": "{} 的日志没有时间戳",
    "the checkpoint of {} that bears a timestamp does not bear its signature": "{} 带时间戳的检查点没有它的签名",
    "the checkpoint of {} that bears a timestamp does not hold its entries": ("{} 带时间戳的检查点不包含它的记录"),
    "the timestamp of {} is not one of the checkpoint it stands with": "{} 的时间戳不是对所附检查点的时间戳",
    "the timestamp of {} cannot be read here: pip install 'heji[anchors]'": (
        "此处无法读取 {} 的时间戳：请 pip install 'heji[anchors]'"
    ),
    "{} is later than the timestamp over it": "{} 晚于覆盖它的时间戳",
    "the log of {} bears a timestamp of {} by {}: give its root certificate to check it": (
        "{} 的日志带有 {} 的时间戳（{}）：请提供其根证书以便核对"
    ),
    "the timestamp of {} is not signed under the certificate given": "{} 的时间戳不是在所给证书之下签署的",
    "the log of {} was so at {}, by the word of {}": "{} 的日志在 {} 时即为如此，由 {} 证明",
    # what evidence cannot show
    "Whether a party's tables are true: evidence binds a party to the data it used, not to the world.": (
        "机构的数据表是否真实：证据只把机构与它所用的数据绑定，不能证明数据符合事实。"
    ),
    "What was copied or read outside of this software.": "在本软件之外被复制或读取的内容。",
    "That nobody else was told: members who pool their secrets could learn more than the protocol gives them.": (
        "是否有人私下相告：若干成员若合谋交换各自的秘密，可能获知多于协议所给的内容。"
    ),
    "What happened before the logs began or at members whose part is not in the bundle.": (
        "日志开始之前，或在证据包中没有其部分的成员那里发生的事情。"
    ),
    "Deviations are shown and attributed afterwards; they are not prevented.": (
        "偏离协议的行为是事后发现并归责，而非事先阻止。"
    ),
    # the report
    "Evidence report": "证据报告",
    "No check failed": "没有检查未通过",
    "Checks failed": "有检查未通过",
    "passed": "通过",
    "failed": "未通过",
    "open": "未能检查",
    "not checked: ": "未检查：",
    "The job": "作业",
    "Job": "作业编号",
    "Question": "问题",
    "Purpose": "用途",
    "Submitted by": "提交者",
    "Recipients": "接收方",
    "Handed in": "提交时间",
    "Exported by": "导出者",
    "Roster": "名册",
    "Who approved": "谁批准了",
    "Party": "机构",
    "Organisation": "所属单位",
    "Approved at": "批准时间",
    "Policy": "策略摘要",
    "By hand": "人工批准",
    "Hides cells under": "隐藏少于此数的单元格",
    "Who learned what": "谁得知了什么",
    "from the plan, which every member compiled itself": "根据各成员自行编译的计划",
    "Checks": "检查",
    "Timeline": "时间线",
    "Time (UTC)": "时间（UTC）",
    "Who": "谁",
    "What": "事项",
    "said {} messages ({} bytes) and heard {}": "发出 {} 条消息（{} 字节），收到 {} 条",
    "What evidence cannot show": "证据不能说明什么",
    "The period": "时期",
    "Whose log": "谁的日志",
    "Entries": "记录",
    "Jobs": "作业数",
    "Every job": "全部作业",
    "Began (UTC)": "开始（UTC）",
    "Asked by": "提交者",
    "Columns used": "所用的列",
    "End": "结果",
    "Verdict": "判定",
    "What was asked": "查询内容",
    "Spent of limits": "限额使用",
    "Of": "项目",
    "Whom it was shown to": "展示对象",
    "Spent": "使用",
    "Limit": "限额",
    "{} in {} days": "{}（{} 天内）",
    "spent": "使用限额",
    "attempt {}": "第 {} 次执行",
    "approved": "批准",
    "committed": "对数据与种子作出承诺",
    "refused": "拒绝",
    "aborted": "中止",
    "added": "完成加总",
    "done": "完成",
    "revealed": "打开结果",
    "submitted": "收到作业",
    "started": "启动",
    "stopped": "停止参与",
    "resumed": "恢复参与",
    "gave": "交出先前的问题",
    "forgot": "不再与先前的问题比较",
    "destroyed": "销毁为重放而保留的内容",
}


def chinese(template: str, *args: object) -> str:
    """``template`` in Chinese; in English where it is not known."""
    return CHINESE.get(template, template).format(*args)
