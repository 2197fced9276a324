#!/usr/bin/env python3
"""Write 10,000 texts that are hard on tokenizers, the same ones on every machine.

    make_lines.py OUT     each text as a 32-bit little-endian count of bytes, then the bytes (UTF-8)

They are called lines, but many hold line breaks. Nothing here depends on the version of Python or of its Unicode
tables: the random numbers are splitmix64, and what a character may be is written down as ranges.
"""
import struct
import sys

COUNT = 10000
SEED = 20240607

SENTENCES = """\
All human beings are born free and equal in dignity and rights.
They are endowed with reason and conscience and should act towards one another in a spirit of brotherhood.
The quick brown fox jumps over the lazy dog, doesn't it? "Yes," she said; it's 5 o'clock.
Tous les êtres humains naissent libres et égaux en dignité et en droits. L'œuvre naïve, là-bas, coûte 12,50 €.
Alle Menschen sind frei und gleich an Würde und Rechten geboren. Straße, GROẞE, Donaudampfschifffahrtsgesellschaft!
Todos los seres humanos nacen libres e iguales. ¿Cómo está usted? ¡Mañana, señor Núñez!
Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Coração, não, avó.
Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Perché no? È così.
Wszyscy ludzie rodzą się wolni i równi pod względem swej godności. Zażółć gęślą jaźń.
Všichni lidé rodí se svobodní a sobě rovní. Příliš žluťoučký kůň úpěl ďábelské ódy.
Minden emberi lény szabadon születik. Árvíztűrő tükörfúrógép.
Toate ființele umane se nasc libere și egale în demnitate. Şi ţara.
Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İstanbul, IĞDIR, ılık.
Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền. Tiếng Việt.
Kõik inimesed sünnivad vabadena. Visi cilvēki piedzimst brīvi. Visi žmonės gimsta laisvi.
Öll mannleg vera fædd frjáls. Þetta er ágætt, Æ, ð. Alle mennesker er født frie. Åse, Ørsted.
Все люди рождаются свободными и равными в своём достоинстве и правах. Ёлка, Йод, съёмка.
Всі люди народжуються вільними. Її, ґанок, є. Сви људи рађају се слободни. Ђ, Љ, Њ, Џ, Ѓ, Ќ.
Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια. ΟΔΥΣΣΕΥΣ; Ἐν ἀρχῇ ἦν ὁ λόγος.
Բոլոր մարդիկ ծնվում են ազատ ու հավասար։ ყველა ადამიანი იბადება თავისუფალი. ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ
כל בני האדם נולדו בני חורין ושווים בערכם. בְּרֵאשִׁית בָּרָא אֱלֹהִים, "צה״ל" ג׳ינס.
يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. بِسْمِ اللَّهِ، ١٢٣؟ ﷺ
تمام افراد بشر آزاد به دنیا می‌آیند. گچپژ ۱۲۳۴۵۶۷۸۹۰. تمام انسان آزاد پیدا ہوئے ہیں۔
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है। क्ष त्र ज्ञ १२३
সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা নিয়ে জন্মগ্রহণ করে। ਸਾਰੇ ਮਨੁੱਖ ਆਜ਼ਾਦ ਹਨ। બધા માનવો જન્મથી સ્વતંત્ર છે.
மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர். అన్ని మానవులు స్వతంత్రులు. ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರು. മനുഷ്യരെല്ലാവരും തുല്യരാണ്.
සියලු මනුෂ්‍යයෝ නිදහස්ව උපත ලබා ඇත. มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน ๑๒๓ ທຸກໆຄົນເກີດມາມີກຽດ မြန်မာဘာသာ ភាសាខ្មែរ
བོད་སྐད། འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ། ሰው ሁሉ ነፃ ሆኖ ይወለዳል። ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ ᐃᓄᒃᑎᑐᑦ
人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。
人皆生而自由；在尊嚴及權利上均各平等。「臺灣」與『香港』——二〇二四年。
すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。パーティーをガッツリ!ﾊﾝｶｸｶﾅ
모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 각각의 값을 읽었다.
Binadamu wote huzaliwa huru. Gbogbo ènìyàn ni a bí ní òmìnira. Bani Adama duka. Ƙasa ɗaya ɓangare.
int main(void) { for (size_t i = 0; i < n; i++) sum += a[i] * b[i]; return 0x7FFF & ~mask; }
def f(x, *args, **kwargs):\n    return [y ** 2 for y in x if y != None]  # comment\n\tpass\n
SELECT name, COUNT(*) FROM users WHERE id >= 10 AND email LIKE '%@example.com' GROUP BY 1;
<html><body class="a-b"><h1>Title</h1><p>x &amp; y</p><table><tr><td>1</td></tr></table></body></html>
{"key": [1, 2.5e-10, null, true], "path": "C:\\\\Users\\\\x", "url": "https://example.org/a?b=c&d=%20#e"}
$E = mc^2$, \\frac{\\partial f}{\\partial x} \\leq \\sum_{i=1}^{n} x_i, ∀x∈ℝ: ∃y ≠ ∅ ⇒ ∫∂x ≈ √π, x² + y³ = ½
+1 (555) 010-9999, 2024-06-07T12:34:56.789Z, 1,234,567.89, 0b1010, 1e9, ３．１４, Ⅳ, ①②③, ½¼, ٣, ९, 𝟘𝟙
git commit -m "fix: don't crash" && ls -la ~/.config | grep -E '^d' > /dev/null 2>&1 || echo $?
"""

# First and last code point of each range.
SCRIPTS = [(0x41, 0x5A), (0x61, 0x7A), (0x30, 0x39), (0x21, 0x7E), (0xA1, 0xFF), (0x100, 0x17F), (0x180, 0x24F),
           (0x250, 0x2AF), (0x2B0, 0x2FF), (0x370, 0x3FF), (0x400, 0x4FF), (0x500, 0x52F), (0x531, 0x58F),
           (0x591, 0x5F4), (0x600, 0x6FF), (0x700, 0x74F), (0x780, 0x7B1), (0x900, 0x97F), (0x980, 0x9FE),
           (0xA01, 0xA76), (0xA81, 0xAFF), (0xB01, 0xB77), (0xB82, 0xBFA), (0xC00, 0xC7F), (0xC80, 0xCF2),
           (0xD00, 0xD7F), (0xD81, 0xDF4), (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F),
           (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137C), (0x13A0, 0x13FD), (0x1401, 0x167F), (0x1780, 0x17F9),
           (0x1800, 0x18AA), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE), (0x2C00, 0x2C5F), (0x2D30, 0x2D67), (0x3041, 0x30FF),
           (0x3105, 0x312F), (0x3131, 0x318E), (0x3400, 0x4DB5), (0x4E00, 0x9FA5), (0xA000, 0xA48C), (0xA720, 0xA7CA),
           (0xAB70, 0xABBF), (0xAC00, 0xD7A3), (0xF900, 0xFAD9), (0xFB00, 0xFB4F), (0xFB50, 0xFDFD), (0xFE70, 0xFEFC),
           (0xFF01, 0xFFEE), (0x10330, 0x1034A), (0x10400, 0x1044F), (0x10900, 0x1091B), (0x12000, 0x12399),
           (0x13000, 0x1342E), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x20000, 0x2A6D6), (0x2A700, 0x2EBE0),
           (0x2F800, 0x2FA1D)]
SYMBOLS = [(0x2000, 0x206F), (0x2070, 0x209C), (0x20A0, 0x20BF), (0x2100, 0x218B), (0x2190, 0x23FF), (0x2460, 0x24FF),
           (0x2500, 0x257F), (0x2580, 0x259F), (0x25A0, 0x27BF), (0x2900, 0x2BFF), (0x2E00, 0x2E4F), (0x3000, 0x303F),
           (0x3200, 0x33FF), (0xFE10, 0xFE1F), (0xFE30, 0xFE6B), (0x1D100, 0x1D1E8), (0x1F000, 0x1F02B)]
EMOJI = [(0x1F300, 0x1F5FF), (0x1F600, 0x1F64F), (0x1F680, 0x1F6D2), (0x1F900, 0x1F9FF), (0x2600, 0x27BF)]
MARKS = [(0x300, 0x36F), (0x483, 0x487), (0x591, 0x5BD), (0x610, 0x61A), (0x64B, 0x65F), (0x93C, 0x94D),
         (0xE31, 0xE3A), (0xF71, 0xF84), (0x1AB0, 0x1ABD), (0x1DC0, 0x1DF5), (0x20D0, 0x20F0), (0x302A, 0x302F),
         (0x3099, 0x309A), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0x1D165, 0x1D172), (0xE0100, 0xE01EF)]
CONTROLS = [(0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x2064),
            (0x2066, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFC), (0xE0001, 0xE0001), (0xE0020, 0xE007F)]
STRANGE = [(0xFFFD, 0xFFFF), (0xFDD0, 0xFDEF), (0xE000, 0xF8FF), (0x378, 0x379), (0x530, 0x530), (0x1FFFE, 0x1FFFF),
           (0x30000, 0x3FFFF), (0xF0000, 0xF00FF), (0x10FF00, 0x10FFFF), (0xE0080, 0xE00FF), (0x2FE0, 0x2FEF)]
SPACES = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x2003, 0x2009, 0x200A, 0x2028, 0x2029,
          0x202F, 0x205F, 0x3000]
SPECIALS = ["<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<unused0>", "<unused98>",
            "<unused99>", "<unused6241>", "<unused6242>", "[multimodal]", "<start_of_image>", "<0x0A>", "<0xE2>", "<s>",
            "</s>", "<b>", "</b>", "<h1>", "<table>", "</table>", "<strong>", "<blockquote>", "<bos", "bos>", "<<b>>",
            "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "[cls]", "[ SEP ]", "[CLS", "##ing", "##", "[unused5]",
            "\u2581", "\u2581the", "\u2581\u2581", " \u2581 ", "<|im_start|>", "<start_of_turn>user\nHi<end_of_turn>\n"]
FAMILIES = ["\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466", "\U0001F9D1\U0001F3FD\u200D\U0001F680",
            "\u2764\uFE0F\u200D\U0001F525", "\U0001F1EB\U0001F1F7\U0001F1EF\U0001F1F5", "1\uFE0F\u20E3",
            "\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F", "\U0001F44D\U0001F3FF",
            "\U0001F3F3\uFE0F\u200D\U0001F308", "\u2603\uFE0F", "\u00A9\uFE0E"]


class Random:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        z = (z ^ z >> 27) * 0x94D049BB133111EB & (2**64 - 1)
        return z ^ z >> 31

    def below(self, n):
        return self.bits() % n

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def of(self, things):
        return things[self.below(len(things))]

    def character(self, ranges):
        return chr(self.between(*self.of(ranges)))

    def run(self, ranges, low, high):
        return "".join(self.character(ranges) for _ in range(self.between(low, high)))


def sentence(r):
    words = r.of(r.sentences).split(" ")
    first = r.below(len(words))
    return " ".join(words[first:first + r.between(1, 14)])


def script(r):
    one = [r.of(SCRIPTS)]
    return " ".join(r.run(one, 1, 9) for _ in range(r.between(1, 6)))


def mixed(r):
    return r.run(SCRIPTS + SYMBOLS, 1, 12)


def emoji(r):
    return "".join(r.of(FAMILIES) if r.below(2) else r.character(EMOJI) for _ in range(r.between(1, 5)))


def spaces(r):
    kind = r.below(4)
    if kind == 0:
        return " " * r.between(1, 40)
    if kind == 1:
        return r.of(["\n", "\t", "\r\n", "\u3000", "\u00A0"]) * r.between(1, 35)
    return "".join(chr(r.of(SPACES)) for _ in range(r.between(1, 6)))


def controls(r):
    return "".join(r.character(CONTROLS) + r.of(["", "a", "Zz", " ", "\u00E9"]) for _ in range(r.between(1, 6)))


def accents(r):
    base = [(0x41, 0x7A), (0xC0, 0x17F), (0x391, 0x3C9), (0x410, 0x44F), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE),
            (0x5D0, 0x5EA), (0x1100, 0x1112), (0x3042, 0x3094), (0xAC00, 0xD7A3), (0x4E00, 0x4E20), (0x1D157, 0x1D158)]
    return "".join(r.character(base) + r.run(MARKS, 0, 4) for _ in range(r.between(1, 8)))


def number(r):
    digits = "".join(r.of("0123456789") for _ in range(r.between(1, 24)))
    return digits[:r.between(1, 24)] + r.of(["", ".", ",", "-", "/", ":", "e", " "]) + digits


def repeats(r):
    piece = r.of(["a", "=", "-", "ab", "ha", "\u00E9", "!", "...", "/*", "0", "x y", "\u4E00", "\uAC00", "#", "<", "\u0301"])
    return piece * r.between(1, r.of([6, 20, 70, 130]))


def special(r):
    return r.of(["", "x", " "]) + r.of(SPECIALS) + r.of(["", "x", " ", "\n"])


def strange(r):
    return "".join(r.character(STRANGE) + r.of(["", "a", " "]) for _ in range(r.between(1, 4)))


def anything(r):
    def one():
        code = r.below(0x110000 - 0x800)
        return chr(code if code < 0xD800 else code + 0x800)
    return "".join(one() for _ in range(r.between(1, 8)))


def long_word(r):
    return r.run([(0x61, 0x7A)] if r.below(2) else [(0x61, 0x7A), (0xE0, 0xFF)], 95, 105)


KINDS = [sentence] * 10 + [script] * 4 + [mixed] * 2 + [emoji] * 2 + [spaces] * 3 + [controls] + [accents] * 2 \
    + [number, repeats, special, special, strange, anything, long_word]


def line(r):
    parts = [r.of(KINDS)(r) for _ in range(r.between(1, 5))]
    glue = r.of(["", " ", " ", "\n"])
    text = glue.join(parts)
    return text.upper() if text.isascii() and r.below(20) == 0 else text


def lines():
    r = Random(SEED)
    r.sentences = [s.replace("\\n", "\n").replace("\\t", "\t")
                   for s in SENTENCES.splitlines()]
    return [""] + [line(r) for _ in range(COUNT - 1)]


def main():
    with open(sys.argv[1], "wb") as out:
        for text in lines():
            data = text.encode()
            out.write(struct.pack("<I", len(data)) + data)


if __name__ == "__main__":
    main()
