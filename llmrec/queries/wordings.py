"""The words of made queries: what genres and attributes are called, and the sentences of each language.

Separate from `maker`, which decides what a query says, so that the wordings are read, and more of them added, as lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Genre(NamedTuple):
    adjective: str
    chinese: str
    chinese_adjective: str


GENRES = {
    "action": Genre("action-packed", "动作", "打斗精彩的"),
    "adventure": Genre("adventurous", "冒险", "惊险刺激的"),
    "animation": Genre("animated", "动画", "动画风格的"),
    "biography": Genre("biographical", "传记", "真人真事的"),
    "children": Genre("child-friendly", "儿童", "适合孩子的"),
    "children's": Genre("child-friendly", "儿童", "适合孩子的"),
    "comedy": Genre("funny", "喜剧", "搞笑的"),
    "crime": Genre("gritty", "犯罪", "关于犯罪的"),
    "documentary": Genre("true-to-life", "纪录", "纪实的"),
    "drama": Genre("dramatic", "剧情", "有戏剧张力的"),
    "family": Genre("family-friendly", "家庭", "适合全家的"),
    "fantasy": Genre("magical", "奇幻", "充满魔法的"),
    "film-noir": Genre("dark and moody", "黑色", "阴郁的"),
    "history": Genre("historical", "历史", "关于历史的"),
    "horror": Genre("scary", "恐怖", "吓人的"),
    "music": Genre("music-filled", "音乐", "关于音乐的"),
    "musical": Genre("musical", "歌舞", "有歌有舞的"),
    "mystery": Genre("mysterious", "悬疑", "烧脑的"),
    "romance": Genre("romantic", "爱情", "浪漫的"),
    "sci-fi": Genre("futuristic", "科幻", "有未来感的"),
    "sport": Genre("sporty", "体育", "关于体育的"),
    "thriller": Genre("suspenseful", "惊悚", "紧张的"),
    "war": Genre("wartime", "战争", "关于战争的"),
    "western": Genre("western", "西部", "西部风格的"),
}
CHINESE = {
    "art": "艺术", "bath & body": "沐浴身体护理", "beauty": "美妆", "books": "图书", "business": "商业", "classical": "古典",
    "conditioners": "护发素", "cookbooks": "食谱", "cooking": "烹饪", "electronic": "电子", "electronics": "电子产品",
    "eyes": "眼妆", "face": "面部", "fiction": "小说", "folk": "民谣", "food": "食品", "fragrance": "香水", "games": "游戏",
    "garden": "园艺", "hair care": "护发", "health": "健康", "hip-hop": "嘻哈", "jazz": "爵士", "kitchen": "厨房",
    "lips": "唇妆", "makeup": "彩妆", "men's": "男士", "nails": "美甲", "nail polish": "指甲油", "outdoor": "户外",
    "poetry": "诗歌", "pop": "流行", "rock": "摇滚", "science": "科学", "shampoos": "洗发水", "skin care": "护肤",
    "sports": "运动", "tools & accessories": "工具配件", "toys": "玩具", "travel": "旅行", "women's": "女士",
    **{name: genre.chinese for name, genre in GENRES.items()},
}


@dataclass(frozen=True)
class Wordings:
    """Sentence patterns and fillings of one language. Patterns with a slot an item cannot fill are not used for it; train and test share no pattern."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    moods: tuple[str, ...]
    film_moods: tuple[str, ...]
    film_nouns: tuple[str, ...]
    other_noun: str
    comma: str


WORDINGS: Mapping[str, Wordings] = {
    "en": Wordings(
        train=(
            "something {adjective} like {like}, {mood}",
            "something {adjective}, {mood}",
            "looking for {what}",
            "looking for {what}, {mood}",
            "{article} {adjective} {noun}, {mood}",
            "can you find me {what} similar to {like}?",
            "I liked {like}, do you have more {what}?",
            "show me {what}, {mood}",
            "we need {what} for the two of us",
            "what would you pick if I enjoy {what} and {like}?",
            "in the mood for {what}, {mood}",
            "{what} please, {mood}",
            "please recommend {what} close to {like}, {mood}",
            "I have time for {what}",
            "something like {like}, {mood}",
        ),
        test=(
            "I could use {what}, {mood}",
            "maybe {what} in the vein of {like}, {mood}",
            "got anything {adjective}? {like} was great",
            "surprise me with {what}",
            "today calls for {article} {adjective} {noun}",
            "what else is there for a fan of {like}?",
        ),
        moods=("nothing too fancy", "as a gift", "not the obvious choice", "for a friend", "well made", "easy to like", "for a change", "well spoken of"),
        film_moods=("not too long", "for a rainy evening", "for a quiet night in", "to unwind after work", "one I can watch twice", "for the long train ride"),
        film_nouns=("film", "movie"),
        other_noun="pick",
        comma=", ",
    ),
    "zh": Wordings(
        train=(
            "来点{adjective}，像“{like}”那样，{mood}",
            "想要{adjective}，{mood}",
            "想找{what}",
            "想找{what}，{mood}",
            "有没有{what}？",
            "{article}{adjective}{noun}，{mood}",
            "请推荐{what}",
            "喜欢“{like}”，还有类似的{what}吗？",
            "帮我找{what}，最好跟“{like}”差不多",
            "今天想要{what}，{mood}",
            "{what}，{mood}",
            "给我看看{what}",
            "跟“{like}”同一路子的{what}",
            "类似“{like}”的，{mood}",
        ),
        test=(
            "{what}有什么好的？{mood}",
            "最近迷上了{what}，给点建议",
            "除了“{like}”，该选什么{what}？",
            "求{article}{adjective}{noun}",
            "求{what}，{mood}",
            "喜欢“{like}”的人还会选什么？",
        ),
        moods=("不要太大众", "送人也合适", "口碑好一点", "质量过得去", "换换口味", "给朋友选的", "别太复杂"),
        film_moods=("不要太长", "适合下雨的晚上", "下班后放松一下", "周末在家看", "值得看两遍", "路上打发时间"),
        film_nouns=("电影", "片子"),
        other_noun="东西",
        comma="，",
    ),
}
