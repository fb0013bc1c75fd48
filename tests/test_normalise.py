"""Written English as a reader says it: exact words for hard cases, and what must hold for any text."""

import random
import re
import time

import pytest

from lib.errors import TextError
from lib.normalise import spoken
from lib.numberwords import in_words, year_words
from lib.text import for_comparison, sentences

CASES = [
    # numbers
    ("It takes 0 to 12 days.", "It takes zero to twelve days."),
    ("1,234 people", "one thousand two hundred thirty-four people"),
    ("It weighs 1,000,001 tons.", "It weighs one million one tons."),
    ("Agent 007", "Agent zero zero seven"),
    (
        "account 12345678901234567",
        "account one two three four five six seven eight nine zero one two three four five six seven",
    ),
    ("Pi is 3.14159.", "Pi is three point one four one five nine."),
    ("about .5 more", "about point five more"),
    ("It fell to −5 overnight.", "It fell to minus five overnight."),
    ("(-3)", "(minus three)"),
    ("a -0.25 change", "a minus zero point two five change"),
    ("2.50 liters", "two point five zero liters"),
    # ordinals, fractions
    ("the 1st, 22nd and 103rd", "the first, twenty-second and one hundred third"),
    ("the 1,000th visitor", "the one thousandth visitor"),
    ("1/2 cup", "one half cup"),
    ("3/4 full", "three quarters full"),
    ("2 1/2 eggs", "two and a half eggs"),
    ("2½ hours, ¾ of it", "two and a half hours, three quarters of it"),
    ("5/8 inch", "five eighths inch"),
    ("7/365", "seven over three hundred sixty-five"),
    # money
    ("It cost $5.", "It cost five dollars."),
    ("$1.00", "one dollar"),
    ("$0.99", "ninety-nine cents"),
    ("$1,234.56", "one thousand two hundred thirty-four dollars and fifty-six cents"),
    ("$3.2 million", "three point two million dollars"),
    ("£1.01", "one pound and one penny"),
    ("€3.50", "three euros and fifty cents"),
    ("5,50 €", "five euros and fifty cents"),
    ("50p and 50¢", "fifty pence and fifty cents"),
    ("¥500", "five hundred yen"),
    ("a $5 bill", "a five dollar bill"),
    ("US$20", "twenty U S dollars"),
    ("-$7", "minus seven dollars"),
    ("$2bn", "two billion dollars"),
    ("$10k", "ten thousand dollars"),
    ("$5–10", "five to ten dollars"),
    ("$5–$10", "five dollars to ten dollars"),
    ("$100/hour", "one hundred dollars per hour"),
    ("20 EUR", "twenty euros"),
    ("$1.255", "one point two five five dollars"),
    # percentages, ranges, ratios, scores
    ("25% of 10–15%", "twenty-five percent of ten to fifteen percent"),
    ("0.5%", "zero point five percent"),
    ("3%-4%", "three percent to four percent"),
    ("pages 10-12", "pages ten to twelve"),
    ("ages 5–7", "ages five to seven"),
    ("a 2-1 win", "a two to one win"),
    ("10-12 km", "ten to twelve kilometers"),
    ("16:9", "sixteen to nine"),
    # dates, years
    ("2024-03-05", "March fifth, twenty twenty-four"),
    ("2024-03", "March twenty twenty-four"),
    ("3/4/2025", "March fourth, twenty twenty-five"),
    ("31/12/1999", "December thirty-first, nineteen ninety-nine"),
    ("7/4/76", "July fourth, nineteen seventy-six"),
    ("31.12.2023", "December thirty-first, twenty twenty-three"),
    ("Jan. 3, 2024", "January third, twenty twenty-four"),
    ("January 3rd", "January third"),
    ("3 January 2024", "the third of January twenty twenty-four"),
    ("the 3rd of May", "the third of May"),
    ("Mon., Jan. 5", "Monday, January fifth"),
    ("in Sept. and May 1945", "in September and May nineteen forty-five"),
    ("She was born on Dec. 31.", "She was born on December thirty-first."),
    ("in 1066, 1900 and 1905", "in ten sixty-six, nineteen hundred and nineteen oh five"),
    ("in 2000, 2005 and 2010", "in two thousand, two thousand five and twenty ten"),
    ("the 1990s and the '80s", "the nineteen nineties and the eighties"),
    ("the 1800s, mid-1990s", "the eighteen hundreds, mid-nineteen nineties"),
    ("44 BC, AD 79, 476 A.D.", "forty-four B C, A D seventy-nine, four seventy-six A D."),
    ("1914–1918", "nineteen fourteen to nineteen eighteen"),
    ("1914-18", "nineteen fourteen to eighteen"),
    ("2001–02", "two thousand one to zero two"),
    # times
    ("5:30 p.m. today", "five thirty P M today"),
    ("17:45", "seventeen forty-five"),
    ("5:00", "five o'clock"),
    ("5:05 am", "five oh five A M"),
    ("17:00", "seventeen hundred"),
    ("00:15", "zero fifteen"),
    ("at 5 pm", "at five P M"),
    ("1:23:45", "one twenty-three and forty-five seconds"),
    ("We met at 5 p.m. He left at 6 a.m. Monday.", "We met at five P M. He left at six A M Monday."),
    # telephones, ids
    ("555-123-4567", "five five five, one two three, four five six seven"),
    ("(212) 555-0199", "two one two, five five five, zero one nine nine"),
    ("1-800-555-1234", "one, eight hundred, five five five, one two three four"),
    ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
    ("call 555-1234", "call five five five, one two three four"),
    ("Call 911.", "Call nine one one."),
    ("078-05-1120", "zero seven eight, zero five, one one two zero"),
    # Roman numerals
    ("Henry VIII and Louis XIV", "Henry the eighth and Louis the fourteenth"),
    ("World War II", "World War two"),
    ("Chapter IV", "Chapter four"),
    ("Rocky III", "Rocky three"),
    ("Malcolm X", "Malcolm X"),
    ("Queen Elizabeth I was there.", "Queen Elizabeth the first was there."),
    ("Did Mary I know?", "Did Mary I know?"),
    ("John Paul II's", "John Paul the second's"),
    ("Super Bowl XLII", "Super Bowl forty-two"),
    # abbreviations
    ("Dr. Smith, Mr. Jones, Mrs. Brown, Ms. Lee", "Doctor Smith, Mister Jones, Missus Brown, Miz Lee"),
    ("Prof. Plum and Gen. Lee", "Professor Plum and General Lee"),
    ("St. James St.", "Saint James Street."),
    ("Mount St. Helens", "Mount Saint Helens"),
    ("5th Ave. at Main St.", "fifth Avenue at Main Street."),
    ("12 Elm Dr. near Mt. Hood", "twelve Elm Drive near Mount Hood"),
    ("e.g. this, i.e. that", "for example this, that is that"),
    ("Tea, coffee, etc.", "Tea, coffee, et cetera."),
    ("cats vs. dogs", "cats versus dogs"),
    ("No. 5 and Nos. 6-7", "number five and numbers six to seven"),
    ("pp. 10-12, Fig. 3, ca. 1500", "pages ten to twelve, Figure three, circa fifteen hundred"),
    ("Martin Luther King Jr. spoke.", "Martin Luther King Junior spoke."),
    ("Acme Co. Ltd.", "Acme Company Limited."),
    ("a Ph.D. student", "a P H D student"),
    ("w/o milk", "without milk"),
    ("John F. Kennedy", "John F Kennedy"),
    ("J. K. Rowling and J.R.R. Tolkien", "J K Rowling and J R R Tolkien"),
    ("No. I will not. It was I. He left.", "No. I will not. It was I. He left."),
    ("He sat in the Sun. Then he ran.", "He sat in the Sun. Then he ran."),
    # initialisms, codes
    ("NASA, NATO and UNESCO", "NASA, NATO and UNESCO"),
    ("the FBI's HTML", "the F B I's H T M L"),
    ("the U.S.A.", "the U S A."),
    ("Made in the U.S. The end.", "Made in the U S. The end."),
    ("CPUs and DVDs", "C P U's and D V D's"),
    ("The BBC said so.", "The B B C said so."),
    ("MP3", "M P three"),
    ("H2O", "H-two O"),
    ("COVID-19", "COVID nineteen"),
    ("an F-16", "an F-sixteen"),
    ("A4 paper", "A-four paper"),
    ("GPT-4", "G P T four"),
    ("A380", "A-three eighty"),
    ("a 3D TV", "a three D T V"),
    ("5G", "five G"),
    ("v1.2.3", "v-one point two point three"),
    ("192.168.1.1", "one nine two dot one six eight dot one dot one"),
    ("SEND IT TO US NOW", "SEND IT TO US NOW"),
    ("the IT department", "the IT department"),
    # units
    ("5 km, 3.5 kg", "five kilometers, three point five kilograms"),
    ("1 km", "one kilometer"),
    ("70 mph", "seventy miles per hour"),
    ("−20 °C", "minus twenty degrees Celsius"),
    ("98.6°F", "ninety-eight point six degrees Fahrenheit"),
    ("a 45° turn", "a forty-five degrees turn"),
    ("100 km/h", "one hundred kilometers per hour"),
    ("9.8 m/s²", "nine point eight meters per second squared"),
    ("50 m²", "fifty square meters"),
    ("16GB at 2.4 GHz", "sixteen gigabytes at two point four gigahertz"),
    ("a 5-km run", "a five kilometer run"),
    ("5 lbs. of it", "five pounds of it"),
    ("6 in. wide", "six inches wide"),
    ("6'2\" tall", "six foot two tall"),
    ("4x4", "four by four"),
    ("10x faster", "ten times faster"),
    # internet
    ("https://www.example.com/a-1.html", "W W W dot example dot com slash A dash one dot H T M L"),
    ("See www.bbc.co.uk.", "See W W W dot B B C dot co dot U K."),
    ("john.smith99@example.org", "john dot smith ninety-nine at example dot org"),
    ("#MachineLearning2024", "hashtag Machine Learning twenty twenty-four"),
    ("We are #1!", "We are number one!"),
    ("@john_doe said", "at john doe said"),
    # Unicode, symbols
    ("“Curly” ‘quotes’ — and dashes…", "\"Curly\" 'quotes', and dashes..."),
    ("ﬁne ＦＵＬＬ １２３ ① Ⅷ", "fine FULL one hundred twenty-three one VIII"),
    ("Dvořák, Łódź and Nguyễn", "Dvorák, Lódz and Nguyen"),
    ("café, naïve, São Paulo", "café, naïve, São Paulo"),
    ("Hello 😀 world 👍🏽 🇺🇸!", "Hello world!"),
    ("zero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
    ("Tom & Jerry", "Tom and Jerry"),
    ("1 + 1 = 2", "one plus one equals two"),
    ("5 < 7", "five is less than seven"),
    ("AT&T, R&B and C#", "A T and T, R and B and C sharp"),
    ("2^10 and 10⁻³", "two to the ten and ten to the minus three"),
    ("x² + 5²", "x squared plus five squared"),
    ("a footnote¹", "a footnote"),
    ("π ≈ 3.14", "pi is about three point one four"),
    ("10 µm ±5", "ten micrometers plus or minus five"),
    ("and/or", "and or"),
    ("24/7", "twenty-four seven"),
    ("*bold*, _it_, snake_case", "bold, it, snake case"),
    ("Monday–Friday, 9–5", "Monday to Friday, nine to five"),
    ("Well--you know -- yes.", "Well, you know, yes."),
    ("٣ apples", "three apples"),
]

AMBIGUOUS = [  # fixed readings of writing that has two; the docstring of lib.normalise lists them
    ("3/4", "three quarters"),  # not the third of April
    ("2024-03", "March twenty twenty-four"),  # not a range
    ("2001–02", "two thousand one to zero two"),  # not February
    ("1234 people", "twelve thirty-four people"),  # a year unless it has a comma
    ("a 2-1 win", "a two to one win"),
    ("his 80s", "his eighties"),  # not eighty seconds
    ("5M", "five M"),
    ("$5M", "five million dollars"),
    ("ask WHO in the IT team", "ask WHO in the IT team"),
    ("on James St. Paul waited", "on James Saint Paul waited"),
    ("on Elm St. Zoe waited", "on Elm Street Zoe waited"),
    ("in May 5 came", "in May fifth came"),
    ("a 45° turn", "a forty-five degrees turn"),
    ("Vitamin C. Drink it", "Vitamin C Drink it"),  # after a capitalised word a single capital is an initial
]

PROSE = """The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background! It's easy to tell the
depth of a well; these days a chicken leg is a rare dish (so they say). "Rice is often served in round bowls," she said,
'isn't it?' The juice of lemons makes fine punch... I, for one, don't mind: Mary-Jane's mother-in-law came on Sunday in
May; no one sat in the sun."""


@pytest.mark.parametrize("written, words", CASES + AMBIGUOUS)
def test_written_text_is_read_as_a_person_reads_it(written, words):
    assert spoken(written) == words


def test_there_are_enough_hard_cases():
    assert len({written for written, _ in CASES}) >= 150


def test_plain_prose_is_not_touched():
    line = " ".join(PROSE.split())
    assert spoken(line) == line
    assert spoken(PROSE) == line


def test_paragraphs_are_kept():
    assert (
        spoken("Chapter IV\n\n It was\n1945. \n\n\n End")
        == "Chapter four\n\nIt was nineteen forty-five.\n\nEnd"
    )


@pytest.mark.parametrize(
    "text", ["", " \n\t", "...", "😀 🎉", "\u200b\ufeff", "\x00\x07", "—", "*** ___", "‘’“”"]
)
def test_text_without_words_is_refused(text):
    with pytest.raises(TextError, match="nothing in .* can be spoken: give at least one word or number"):
        spoken(text)


@pytest.mark.parametrize(
    "text, culprit", [("Hello 日本", "日"), ("Привет", "п|П"), ("שלום", "ש"), ("नमस्ते", "न")]
)
def test_letters_of_a_script_the_reader_cannot_say_are_refused(text, culprit):
    with pytest.raises(
        TextError, match=f"'(?:{culprit})' .* cannot be said by an English reader: write it in Latin letters"
    ):
        spoken(text)


def test_text_of_the_wrong_type_is_refused():
    with pytest.raises(TextError, match="text is a bytes, not a string"):
        spoken(b"hello")


_SPEAKABLE = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿ ,.;:!?'\"()\n-]+")


def test_output_is_speakable_and_a_fixed_point_on_any_mixture_of_hard_cases():
    pieces = [word for written, _ in CASES + AMBIGUOUS for word in written.split()]
    characters = "aA1 .,-–/:$£%'\"()&@#x5 I V S t.p m0° ²½…—é\n"
    rng = random.Random(0)
    for round_ in range(1500):
        if round_ % 2:
            text = " ".join(rng.choices(pieces, k=rng.randint(1, 8)))
        else:
            text = "".join(rng.choices(characters, k=rng.randint(1, 25)))
        if not re.search(r"[^\W_]", text):
            continue
        words = spoken(text)
        assert _SPEAKABLE.fullmatch(words), (text, words)
        assert spoken(words) == words, (text, words)


def test_no_word_of_letters_is_lost():
    rng = random.Random(1)
    vocabulary = sorted(set(re.findall(r"[a-z]{3,}", PROSE)))
    for _ in range(200):
        words = rng.choices(vocabulary, k=12)
        text = "".join(word + rng.choice([" ", ", ", " 7 ", " — ", "; ", " $3.50 ", " 10% "]) for word in words)
        read = iter(re.findall(r"[a-z]+", spoken(text)))
        assert all(word in read for word in words), text  # in this order


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        ".",
        "A.",
        "-",
        "a@",
        "1,",
        "1/",
        "1.",
        "I ",
        "St. ",
        "a.",
        "$1",
        "Jan ",
        "1:",
        "1^",
        "#",
        "http://",
        "a-",
        "1–",
        "(",
        "\n",
        "the quick fox ",
        "On Jan. 3, 2024, Dr. Smith paid $5.50 for 12 km. ",
    ],
)
def test_time_grows_with_length_and_not_faster(unit):
    def seconds(characters: int) -> float:
        text = (unit * characters)[:characters] + " end"
        times = []
        for _ in range(2):
            start = time.process_time()
            spoken(text)
            times.append(time.process_time() - start)
        return min(times)

    short, long = seconds(3_000), seconds(12_000)
    assert long < 4 * 2.2 * short + 0.02  # 4 times the text; quadratic time would be 16


def test_ten_thousand_characters_take_a_fifth_of_a_second():
    text = (PROSE + " On Jan. 3, 2024, Dr. Smith paid $5.50 for 12 km. ") * 20
    start = time.process_time()
    spoken(text[:10_000])
    assert time.process_time() - start < 0.2


def test_read_sentences_are_still_the_same_sentences():
    assert sentences(spoken("Dr. Smith paid $9.50 at 5 p.m. He left. Was it No. 5?")) == [
        "Doctor Smith paid nine dollars and fifty cents at five P M.",
        "He left.",
        "Was it number five?",
    ]


def test_a_transcript_of_digits_and_one_of_words_compare_equal():
    written = "It cost $20 in 2005, the 21st time, for 15 percent."
    assert for_comparison(spoken(written)) == for_comparison(written)


@pytest.mark.parametrize(
    "number, words",
    [
        (0, "zero"),
        (100, "one hundred"),
        (1_000, "one thousand"),
        (20_013, "twenty thousand thirteen"),
        (10**6, "one million"),
        (
            999_999_999_999_999,
            "nine hundred ninety-nine trillion nine hundred ninety-nine billion nine hundred ninety-nine million "
            "nine hundred ninety-nine thousand nine hundred ninety-nine",
        ),
    ],
)
def test_whole_numbers(number, words):
    assert in_words(number) == words


@pytest.mark.parametrize(
    "year, words",
    [
        (1900, "nineteen hundred"),
        (1901, "nineteen oh one"),
        (2000, "two thousand"),
        (79, "seventy-nine"),
        (2009, "two thousand nine"),
        (2019, "twenty nineteen"),
        (476, "four seventy-six"),
    ],
)
def test_years(year, words):
    assert year_words(year) == words
