"""Code lists of the demo's tables: what a column may hold (its declared domain) and how people call it.

INDUSTRIES   sections of GB/T 4754-2017 (国民经济行业分类), A to T
PROVINCES    GB/T 2260 codes of the 31 mainland provinces, as text of six digits
SIZES        the classes of 统计上大中小微型企业划分办法 that a small-enterprise desk meets
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: code -> (Chinese, English)
INDUSTRIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "A": ("农、林、牧、渔业", "Farming, forestry, fishery"),
        "B": ("采矿业", "Mining"),
        "C": ("制造业", "Manufacturing"),
        "D": ("电力、热力、燃气及水生产和供应业", "Power, heat, gas, water"),
        "E": ("建筑业", "Construction"),
        "F": ("批发和零售业", "Wholesale and retail"),
        "G": ("交通运输、仓储和邮政业", "Transport, storage, post"),
        "H": ("住宿和餐饮业", "Hotels and catering"),
        "I": ("信息传输、软件和信息技术服务业", "Information technology"),
        "J": ("金融业", "Finance"),
        "K": ("房地产业", "Real estate"),
        "L": ("租赁和商务服务业", "Leasing, business services"),
        "M": ("科学研究和技术服务业", "Research, technical services"),
        "N": ("水利、环境和公共设施管理业", "Water, environment, facilities"),
        "O": ("居民服务、修理和其他服务业", "Household services, repair"),
        "P": ("教育", "Education"),
        "Q": ("卫生和社会工作", "Health and social work"),
        "R": ("文化、体育和娱乐业", "Culture, sports, entertainment"),
        "S": ("公共管理、社会保障和社会组织", "Public administration"),
        "T": ("国际组织", "International organisations"),
    }
)

PROVINCES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "110000": ("北京", "Beijing"),
        "120000": ("天津", "Tianjin"),
        "130000": ("河北", "Hebei"),
        "140000": ("山西", "Shanxi"),
        "150000": ("内蒙古", "Inner Mongolia"),
        "210000": ("辽宁", "Liaoning"),
        "220000": ("吉林", "Jilin"),
        "230000": ("黑龙江", "Heilongjiang"),
        "310000": ("上海", "Shanghai"),
        "320000": ("江苏", "Jiangsu"),
        "330000": ("浙江", "Zhejiang"),
        "340000": ("安徽", "Anhui"),
        "350000": ("福建", "Fujian"),
        "360000": ("江西", "Jiangxi"),
        "370000": ("山东", "Shandong"),
        "410000": ("河南", "Henan"),
        "420000": ("湖北", "Hubei"),
        "430000": ("湖南", "Hunan"),
        "440000": ("广东", "Guangdong"),
        "450000": ("广西", "Guangxi"),
        "460000": ("海南", "Hainan"),
        "500000": ("重庆", "Chongqing"),
        "510000": ("四川", "Sichuan"),
        "520000": ("贵州", "Guizhou"),
        "530000": ("云南", "Yunnan"),
        "540000": ("西藏", "Tibet"),
        "610000": ("陕西", "Shaanxi"),
        "620000": ("甘肃", "Gansu"),
        "630000": ("青海", "Qinghai"),
        "640000": ("宁夏", "Ningxia"),
        "650000": ("新疆", "Xinjiang"),
    }
)

SIZES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "micro": ("微型", "Micro"),
        "small": ("小型", "Small"),
        "medium": ("中型", "Medium"),
    }
)

#: column name -> its code list
BY_COLUMN: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "industry": INDUSTRIES,
        "region": PROVINCES,
        "size": SIZES,
    }
)


def label(column: str, value: object) -> str:
    """``value`` as people read it: with its names where ``column`` has a code list, else as it is."""
    names = BY_COLUMN.get(column, {}).get(value) if isinstance(value, str) else None
    if names is None:
        return "(none)" if value is None else str(value)
    return f"{value} {names[1]} {names[0]}" if column == "industry" else f"{names[1]} {names[0]}"
