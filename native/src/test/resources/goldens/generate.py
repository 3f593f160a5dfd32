"""Makes the golden files beside it: what the Python packages tokenizers and tiktoken give for hard texts.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.2 tiktoken==0.14.0
    venv/bin/python generate.py path/to/jtokkit-1.1.0.jar

(the jar is the one Maven fetches; its ranks are those of OpenAI's files). Made with Python 3.11. Per tokenizer:

    <name>.json          the tokenizer, trained here on the few sentences below, one for every family; one that exists
                         is used as it is, because the trainers break ties differently in each run
    <name>.golden.jsonl  a header (package and version, special tokens), then one line for each text of TEXTS:
      text       the document
      text_ids   ids when special tokens in the text are text (encode_special_tokens; encode_ordinary)
      token_ids  ids when they are tokens, if different
      special_at byte offset of the first special token in the text, -1 if none
      added_ids  text_ids with the post-processor's tokens, if different
      spans      begin and end in bytes of each of text_ids
      decoded    text of text_ids, if not the text itself
      skipped    text of added_ids without special tokens, if not the same as decoded
"""

import base64
import json
import pathlib
import sys
import zipfile

import tiktoken
import tiktoken_ext.openai_public as openai_public
import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Regex

HERE = pathlib.Path(__file__).parent

TRAINING = [
    "The quick brown fox jumps over the lazy dog, and it isn't the first time that he's done so.",
    "A tokenizer turns text into token ids; the corpus is split into pre-tokens before any merge happens.",
    "for (int i = 0; i < count; i++) {\n\tsum += values[i];\n}\nreturn sum / count;",
    "def encode(text):\n    return [vocabulary[word] for word in text.split()]",
    "Der schnelle braune Fuchs springt über den faulen Hund. Straße, Größe, Übung.",
    "Le renard brun saute par-dessus le chien paresseux, n'est-ce pas ? Été, garçon, œuvre.",
    "Быстрая коричневая лиса прыгает через ленивую собаку и снова убегает в лес.",
    "快速的棕色狐狸跳过了懒狗。我们把文本变成数字。",
    "素早い茶色の狐はのろまな犬を飛び越える。東京タワー。",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다.",
    "الثعلب البني السريع يقفز فوق الكلب الكسول",
    "तेज भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है",
    "In 2024, 1234567 documents (98.5 %) were read; 12 were not. http://example.org/a?b=c&d=e",
    "hello hello world world the the the and and of of to to in in is is that that it it",
]

TEXTS = [
    "",
    " ",
    "a",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "  two leading and trailing spaces  ",
    "tabs\tand\nnew\r\nlines\r\rhere\n\n\n  x",
    "a\u00a0b\u3000c\u2028d\u0085e",
    " " * 70 + "x" + " " * 65,
    "it's IT'S it\u2019s we'll WE'LL they've I'M he'd 'tis '\u017f don't'T",
    "1 12 123 1234 12345 1234567890 3.14 1,000,000",
    "\u0661\u0662\u0663 \u0967\u0968\u0969\u096a \uff11\uff12\uff13 \u2460\u00bd\u2167",
    "na\u00efve caf\u00e9 nai\u0308ve cafe\u0301 \u1fbd \u1e9b\u0323 \u212b \ufb01",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c\uae00 \u1112\u1161",
    "Stra\u00dfe STRASSE \u0130stanbul \u0131 \u01c5 \u03a3\u03c3\u03c2",
    "\u5feb\u901f\u7684\u68d5\u8272\u72d0\u72f8\uff0c\u8df3\u8fc7\u4e86\u61d2\u72d7\u3002",
    "\u7d20\u65e9\u3044\u8336\u8272\u306e\u72d0\u306f\u30ab\u30bf\u30ab\u30ca\uff76\uff9e",
    "\u0411\u044b\u0441\u0442\u0440\u0430\u044f \u043b\u0438\u0441\u0430",
    "\u0627\u0644\u062b\u0639\u0644\u0628 \u0627\u0644\u0628\u0646\u0651\u064a\u200f",
    "\u0924\u0947\u091c \u092d\u0942\u0930\u0940 \u0932\u094b\u092e\u0921\u093c\u0940",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "\U00020000\U0002a6d6 \U0001d54f \U0001f9ff",
    "zero\u200bwidth\u200djoin\ufeffbom\u00adsoft",
    "nul\u0000byte \u0001\u001f\u007f",
    "\ufffd replacement \ufffe\uffff",
    "<|endoftext|>",
    "before<|endoftext|>after <|endoftext|> <|endoftext|><|endoftext|>",
    "<|endoftex|> <|endoftext| > <|ENDOFTEXT|> |endoftext|",
    "[CLS] text [SEP] [MASK] [UNK] [PAD] <s> </s> <unk> <pad>",
    "a <mask> b<mask>c  <mask>",
    "Quern Querns quern Quern! Quernstone <|end|><|end",
    "snake_case camelCase kebab-case dotted.name C++ C# f(x)[0]{1}",
    "for (int i = 0; i < count; i++) {\n\tsum += values[i];\n}",
    "https://example.org/path?query=1&x=%20#frag user@example.org",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg==",
    "\u2581already \u2581 marked\u2581",
    "\u0120byte \u010alevel \u00c4 chars",
    "!!! ??? ... --- *** ### $$$ \u20ac \u00a3 \u00a7 \u2014 \u201cquoted\u201d",
    "unseenword\u4e97\u9f98 \u16a0\u16a1 \u10d0\u10d1 \u0e01\u0e02",
    "x" * 15 + " " + "y" * 16 + " " + "z" * 17 + "\n" + "w" * 63,
    "mixed\u4e2d\u6587and\u0440\u0443\u0441and123\uc6d4",
    "e\u0301\u0301\u0301 \u0300 \u0308a",
    "the hello world and of to in is that it",
]


def special_at(text, tokens):
    found = [text.index(token) for token in tokens if token in text]
    return len(text[: min(found)].encode()) if found else -1


def optional(line, key, value, default):
    if value != default:
        line[key] = value


def write(name, header, lines):
    with open(HERE / f"{name}.golden.jsonl", "w", encoding="ascii", newline="\n") as out:
        for line in [header] + lines:
            out.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")


# --- tokenizers ----------------------------------------------------------------------------------------------------

TEMPLATE_GPT = dict(single="$A <|endoftext|>", pair="$A $B:1 <|endoftext|>:1")


def byte_level_bpe():
    """GPT-2's kind, with added tokens of every sort."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(TRAINING, trainers.BpeTrainer(vocab_size=480, initial_alphabet=sorted(alphabet), show_progress=False))
    tok.add_special_tokens(["<|endoftext|>", "<|end|>", "<pad>", AddedToken("<mask>", lstrip=True, special=True)])
    tok.add_tokens([AddedToken("Quern", single_word=True), AddedToken("stone"), AddedToken("<|end", rstrip=True)])
    tok.post_processor = processors.TemplateProcessing(
        **TEMPLATE_GPT, special_tokens=[("<|endoftext|>", tok.token_to_id("<|endoftext|>"))]
    )
    return tok


def split_bpe():
    """Llama 3's kind: a pattern of its own, NFC, whole words of the vocabulary before any merge."""
    tok = Tokenizer(models.BPE(ignore_merges=True))
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                ),
                behavior="isolated",
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(TRAINING, trainers.BpeTrainer(vocab_size=420, initial_alphabet=sorted(alphabet), show_progress=False))
    tok.add_special_tokens(["<|endoftext|>"])
    return tok


def sentencepiece_bpe():
    """Llama 2's kind: spaces as U+2581, unknown characters as byte tokens."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tok.train_from_iterator(
        TRAINING,
        trainers.BpeTrainer(vocab_size=430, limit_alphabet=70, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False),
    )
    parts = json.loads(tok.to_str())
    bytes_and_rest = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    rest = sorted((id, token) for token, id in parts["model"]["vocab"].items() if token not in bytes_and_rest)
    parts["model"]["vocab"] = {token: id for id, token in enumerate(bytes_and_rest + [token for _, token in rest])}
    parts["model"]["byte_fallback"] = True
    tok = Tokenizer.from_str(json.dumps(parts))
    tok.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", tok.token_to_id("<s>"))]
    )
    return tok


def metaspace_bpe():
    """Gemma's and XLM's relatives: Metaspace as pre-tokenizer, no byte tokens, unknown characters fused."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tok.decoder = decoders.Metaspace(prepend_scheme="first")
    tok.train_from_iterator(
        TRAINING,
        trainers.BpeTrainer(vocab_size=300, limit_alphabet=80, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False),
    )
    return tok


def wordpiece():
    """BERT's kind, with a truncation and a padding section, which a corpus must not feel."""
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tok.train_from_iterator(
        TRAINING, trainers.WordPieceTrainer(vocab_size=450, special_tokens=specials, show_progress=False)
    )
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", tok.token_to_id("[CLS]")), ("[SEP]", tok.token_to_id("[SEP]"))],
    )
    tok.enable_truncation(8)
    tok.enable_padding(length=12, pad_id=0, pad_token="[PAD]")
    return tok


def unigram():
    """T5's kind: NFKC, Metaspace, a score for each token."""
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tok.decoder = decoders.Metaspace(prepend_scheme="always")
    tok.train_from_iterator(
        TRAINING,
        trainers.UnigramTrainer(vocab_size=330, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False),
    )
    tok.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", tok.token_to_id("</s>"))]
    )
    return tok


def wordlevel():
    """Whole words only."""
    tok = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tok.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)])
    tok.train_from_iterator(
        TRAINING, trainers.WordLevelTrainer(vocab_size=200, special_tokens=["[UNK]", "[PAD]"], show_progress=False)
    )
    return tok


def huggingface(name, train):
    if not (HERE / f"{name}.json").exists():
        train().save(str(HERE / f"{name}.json"), pretty=False)
    tok = Tokenizer.from_file(str(HERE / f"{name}.json"))
    added = tok.get_added_tokens_decoder()
    special = {token.content: id for id, token in added.items() if token.special}
    header = {"package": "tokenizers", "version": tokenizers.__version__, "format": "huggingface", "special_tokens": special}
    truncated = None
    if tok.truncation:
        tok.encode_special_tokens = True
        truncated = [tok.encode(text).ids for text in TEXTS]
        header["truncated_and_padded_ids"] = truncated
        tok.no_truncation()
        tok.no_padding()
    lines = []
    for text in TEXTS:
        tok.encode_special_tokens = True
        plain = tok.encode(text, add_special_tokens=False)
        with_added = tok.encode(text, add_special_tokens=True).ids
        tok.encode_special_tokens = False
        as_tokens = tok.encode(text, add_special_tokens=False).ids
        spans = []
        for begin, end in plain.offsets:
            spans += [len(text[:begin].encode()), len(text[:end].encode())]
        line = {"text": text, "text_ids": plain.ids, "special_at": special_at(text, special), "spans": spans}
        optional(line, "token_ids", as_tokens, plain.ids)
        optional(line, "added_ids", with_added, plain.ids)
        decoded = tok.decode(plain.ids, skip_special_tokens=False)
        optional(line, "decoded", decoded, text)
        optional(line, "skipped", tok.decode(with_added, skip_special_tokens=True), decoded)
        lines.append(line)
    write(name, header, lines)


def openai(jar):
    ranks = {}
    with zipfile.ZipFile(jar) as archive:
        for entry in archive.namelist():
            if entry.endswith(".tiktoken"):
                lines = archive.read(entry).splitlines()
                pairs = (line.split() for line in lines if line)
                ranks[pathlib.PurePath(entry).stem] = {base64.b64decode(token): int(rank) for token, rank in pairs}
    # The package's own patterns and special ids; only the files come from the jar instead of the network.
    openai_public.load_tiktoken_bpe = lambda url, expected_hash=None: ranks[url.rsplit("/", 1)[1].split(".")[0]]
    for name in ["o200k_base", "cl100k_base", "p50k_base", "r50k_base"]:
        encoding = tiktoken.Encoding(**openai_public.ENCODING_CONSTRUCTORS[name]())
        special = encoding._special_tokens
        header = {"package": "tiktoken", "version": tiktoken.__version__, "format": "tiktoken", "special_tokens": special}
        lines = []
        for text in TEXTS:
            ids = encoding.encode_ordinary(text)
            assert encoding.decode_bytes(ids) == text.encode()
            line = {"text": text, "text_ids": ids, "special_at": special_at(text, special)}
            optional(line, "token_ids", encoding.encode(text, allowed_special="all"), ids)
            lines.append(line)
        write(name, header, lines)


if __name__ == "__main__":
    for family in [byte_level_bpe, split_bpe, sentencepiece_bpe, metaspace_bpe, wordpiece, unigram, wordlevel]:
        huggingface(family.__name__.replace("_", "-"), family)
    openai(sys.argv[1])
