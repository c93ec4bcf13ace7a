"""The names, places and organisation words the people generator draws from.

A name in a script other than Latin is written ``native=romanised``; the romanised form ends up in sign-in names and
mail addresses. Latin names are romanised by :func:`romanised`. Where surnames follow gender, a culture appears twice.
"""

import unicodedata
from dataclasses import dataclass

_BEYOND_DECOMPOSITION = str.maketrans(
    {"æ": "ae", "ø": "oe", "œ": "oe", "ß": "ss", "ł": "l", "ı": "i", "đ": "d", "ð": "d", "þ": "th", "’": "'", "_": "."}
)


def romanised(name: str) -> str:
    """A Latin name in lower-case ASCII, fit for the local part of a sign-in name."""
    bare = "".join(c for c in unicodedata.normalize("NFD", name.lower()) if not unicodedata.combining(c))
    return "".join(c for c in bare.translate(_BEYOND_DECOMPOSITION) if c.isascii() and (c.isalnum() or c in "-'."))


@dataclass(frozen=True, slots=True)
class Culture:
    """Names that go together."""

    countries: str
    """ISO codes of countries where these names are common."""
    given: str
    """Blank-separated; an underscore stands for a blank inside a name."""
    surnames: str
    """As ``given``."""
    surname_first: str | None = None
    """What stands between surname and given name in the display name, where the surname comes first."""


CULTURES = (
    Culture(
        "GB US IE",
        "Amelia Benjamin Charlotte Daniel Eleanor Frederick Grace Harriet Isaac "
        "Jessica Kieran Lucy Matthew Naomi Oliver "
        "Phoebe Quentin Rosemary Samuel Tabitha Victoria William Yvonne Zachary",
        "Ashworth Bennett Carmichael Davies Ellison Fletcher Greenwood Hughes "
        "Ingram Jenkins Kirkland Lockwood McAllister "
        "Nash Osborne Pemberton Quigley Robinson Sutherland Thornton Underhill Vaughan Whitaker Young",
    ),
    Culture(
        "DE AT CH",
        "Annika Björn Clara Dietmar Elke Florian Greta Hannes Ilse Jürgen Käthe Lukas Mareike Niklas Ottilie Paul "
        "Renate Sönke Tobias Ursula Volker Wiebke Yannick Zoë",
        "Bäcker Dörfler Eichhorn Fuchs Groß Hübner Jäger Krüger Lindemann Müller Neumann Oppermann Pfeiffer Quandt "
        "Rößler Schäfer Tischler Uhlig Vogel Weiß Zöllner von_Hagen",
    ),
    Culture(
        "FR CH",
        "Adèle Benoît Céline Damien Éloïse François Gaëlle Hélène Inès Jérôme Laëtitia Maël Noémie Océane Pénélope "
        "Rémi Solène Théo Valérie Yves",
        "Bélanger Chevalier D’Aubigné Dupré Étienne Faucher Garçon Hébert Lefèvre "
        "Lévêque Moreau Noël Pelletier Quéméner "
        "Renaud Saint-Exupère Thévenot Vasseur de_la_Tour",
    ),
    Culture(
        "ES MX",
        "Álvaro Begoña Cristóbal Dolores Esperanza Fermín Guadalupe Héctor Íñigo Jesús Lucía Martín Nicolás Óscar "
        "Pilar Raúl Sofía Tomás Úrsula Ximena",
        "Álvarez_Núñez Castañeda Domínguez Echeverría Fernández García_Márquez Hernández Ibáñez Jiménez López "
        "Muñoz Ordóñez Peña Quiñones Rodríguez Sánchez Torres Vázquez Yáñez Zúñiga",
    ),
    Culture(
        "BR PT",
        "Antônio Beatriz Conceição Davi Estêvão Fátima Gonçalo Heloísa Inês João Letícia Márcio Otávio Patrícia "
        "Renata Sebastião Thaís Vinícius",
        "Araújo Brandão Carvalho da_Conceição dos_Santos Falcão Gonçalves Leitão Magalhães Nóbrega Pinheiro Queirós "
        "Ribeiro Simões Tavares Vilaça",
    ),
    Culture(
        "IT CH",
        "Alessia Beniamino Chiara Davide Eleonora Fabrizio Giulia Ludovica Matteo Niccolò Ottavia Pietro Raffaella "
        "Salvatore Umberto Viola",
        "Barbieri Colombo D’Angelo De_Luca Esposito Ferrari Giordano Lombardi Marchetti Nicolò Orlando Pellegrini "
        "Ricci Santoro Tedesco Vitale",
    ),
    Culture(
        "SE NO DK FI",
        "Åsa Bjørn Ebba Frøya Göran Håkon Ingrid Jørgen Kåre Linnéa Märta Nils Östen Pernille Runa Søren Tuva Øyvind "
        "Päivi Väinö",
        "Åkesson Bjørnstad Dahlström Ekström Fjällberg Grønland Håkansson Jönsson Kjær Lindström Mørk Nygård Öberg "
        "Pålsson Rødland Skovgård Sørensen Ytterøy Mäkinen Hämäläinen",
    ),
    Culture(
        "IS",
        "Ásdís Björk Dagný Egill Guðrún Hörður Ísleifur Jökull Kári Óðinn Sigríður Þórunn Ægir Örvar",
        "Blöndal Briem Eldjárn Hafstein Kvaran Möller Thorlacius Zoëga",
    ),
    Culture(
        "PL",
        "Agnieszka Błażej Bożena Czesław Elżbieta Grażyna Jędrzej Krzysztof Łucja Małgorzata Michał Paweł Rafał "
        "Stanisław Święta Wójciech Zofia Żaneta",
        "Baran Gołąb Gżegżółka Jabłoński-Sęk Kołodziej Kwiecień Łuczak Mazur Nowak Pająk Stępień Szczęsny-Żuk Wąs "
        "Wójcik Woźniak Zając Żak Ślusarz",
    ),
    Culture(
        "CZ",
        "Anežka Bořivoj Dušan Eliška Hynek Jiřina Kateřina Ladislav Miloš Ondřej Přemysl Růžena Štěpán Věra Zdeněk",
        "Dolejší Janů Jirků Krejčí Lančí Martinů Matějů Petrů Pavlů Tůmů",
    ),
    Culture(
        "HU",
        "Ágnes Botond Csilla Dóra Előd Ferenc György Ildikó Jenő Kálmán Lőrinc Márta Ödön Piroska Sándor Tünde Zsófia",
        "Bíró Császár Dévényi Erdős Fűzfa Gyöngyösi Hegedűs Kővári Lőrincz Nádasdy Ország Pásztor Szűcs Török Vörös",
        " ",
    ),
    Culture(
        "RO",
        "Andreea Bogdan Călin Doina Ionuț Ștefania Mădălina Răzvan Țurcan Viorel",
        "Bălan Ceaușu Dragoș Întorsu Lăzărescu Munteanu Pătrașcu Șerban Țepeș Vlădescu",
    ),
    Culture(
        "TR",
        "Ayşe Barış Çağla Doğan Elif Fırat Gülşen Hakkı İbrahim Işıl Jülide Kıvanç Mustafa Nurgül Özgür Pınar Şükrü "
        "Tuğba Ülkü Yiğit",
        "Ağaoğlu Bayındır Çelik Doğru Erdoğmuş Güngör Hacıoğlu Iğdır İnönü Kılıç Öztürk Şahin Tığlı Ünal Yıldırım",
    ),
    Culture(
        "GR",
        "Αικατερίνη=aikaterini Βασιλική=vasiliki Δέσποινα=despoina Ελένη=eleni Ιωάννα=ioanna Μαρία=maria "
        "Σοφία=sofia Χριστίνα=christina",
        "Αγγελοπούλου=angelopoulou Γεωργίου=georgiou Δημητρίου=dimitriou Ιωάννου=ioannou Νικολάου=nikolaou "
        "Παπαδοπούλου=papadopoulou",
    ),
    Culture(
        "GR",
        "Αλέξανδρος=alexandros Γιώργος=giorgos Δημήτρης=dimitris Ηλίας=ilias Κωνσταντίνος=konstantinos "
        "Οδυσσέας=odysseas Σταύρος=stavros Χρήστος=christos",
        "Αθανασίου=athanasiou Βασιλείου=vasileiou Γεωργίου=georgiou Κωνσταντίνου=konstantinou "
        "Μακρής=makris Παπαδόπουλος=papadopoulos",
    ),
    Culture(
        "UA",
        "Олександр=oleksandr Галина=halyna Дмитро=dmytro Єва=yeva Жанна=zhanna "
        "Ірина=iryna Їжак=yizhak Ксенія=kseniia "
        "Любомир=liubomyr Мирослава=myroslava Соломія=solomiia Тарас=taras Юлія=yuliia Ярослав=yaroslav",
        "Бондаренко=bondarenko Гончар=honchar Дяченко=diachenko Жук=zhuk Коваленко=kovalenko Лисенко=lysenko "
        "Мельник=melnyk Поліщук=polishchuk Шевченко=shevchenko Щур=shchur Юхименко=yukhymenko",
    ),
    Culture(
        "BG",
        "Анелия=aneliya Весела=vesela Гергана=gergana Десислава=desislava "
        "Живка=zhivka Йорданка=yordanka Росица=rositsa",
        "Ангелова=angelova Димитрова=dimitrova Йорданова=yordanova Петрова=petrova Стоянова=stoyanova",
    ),
    Culture(
        "BG",
        "Асен=asen Борислав=borislav Георги=georgi Захари=zahari Кирил=kiril Пламен=plamen Явор=yavor",
        "Ангелов=angelov Димитров=dimitrov Йорданов=yordanov Петров=petrov Стоянов=stoyanov",
    ),
    Culture(
        "GE",
        "ანა=ana გიორგი=giorgi დავით=davit ეკა=eka თამარ=tamar ლაშა=lasha ნინო=nino შოთა=shota",
        "ბერიძე=beridze გელაშვილი=gelashvili კაპანაძე=kapanadze ლომიძე=lomidze მაისურაძე=maisuradze ხარაძე=kharadze",
    ),
    Culture(
        "AM",
        "Անահիտ=anahit Արմեն=armen Գայանե=gayane Հայկ=hayk Նարեկ=narek Սիրանուշ=siranush Տիգրան=tigran",
        "Գրիգորյան=grigoryan Հակոբյան=hakobyan Մարտիրոսյան=martirosyan Պետրոսյան=petrosyan Սարգսյան=sargsyan",
    ),
    Culture(
        "AE EG",
        "أمينة=amina باسم=basem جميلة=jamila حسن=hassan خديجة=khadija داود=dawud رنا=rana زيد=zayd سلمى=salma "
        "طارق=tariq عائشة=aisha فاطمة=fatima كريم=karim ليلى=layla محمد=mohammed نور=nour هالة=hala ياسر=yasser",
        "الأحمد=alahmad البغدادي=albaghdadi الحداد=alhaddad الخطيب=alkhatib "
        "الراشد=alrashed السيد=alsayed الشامي=alshami "
        "الفارسي=alfarsi القاسم=alqasem المصري=almasri النجار=alnajjar الهاشمي=alhashimi",
    ),
    Culture(
        "IL",
        "אביגיל=avigail בועז=boaz גלית=galit דוד=david הדס=hadas יעל=yael מיכאל=michael נועה=noa עומר=omer שירה=shira",
        "אברהמי=avrahami בן-דוד=ben-david גולן=golan דיין=dayan כהן=cohen לוי=levi "
        "מזרחי=mizrahi פרץ=peretz שפירא=shapira",
    ),
    Culture(
        "IN",
        "अनिता=anita इंदिरा=indira ऋषि=rishi गौरव=gaurav दीपिका=deepika नरेंद्र=narendra प्रिया=priya मीरा=meera "
        "राहुल=rahul लक्ष्मी=lakshmi श्रेया=shreya संजय=sanjay",
        "अग्रवाल=agarwal कुमार=kumar गुप्ता=gupta चौधरी=chaudhary जोशी=joshi त्रिपाठी=tripathi मिश्रा=mishra "
        "वर्मा=verma शर्मा=sharma सिंह=singh",
    ),
    Culture(
        "IN LK",
        "அருண்=arun இளங்கோ=ilango கவிதா=kavitha செல்வி=selvi தமிழ்=tamizh பிரியா=priya முருகன்=murugan ரம்யா=ramya",
        "சுப்பிரமணியன்=subramanian நடராஜன்=natarajan பாலசுப்ரமணியம்=balasubramaniam ராமன்=raman வெங்கடேசன்=venkatesan",
    ),
    Culture(
        "TH",
        "กานดา=kanda จิราพร=jiraporn ชัยวัฒน์=chaiwat ณัฐพล=nattapon นภา=napha ประเสริฐ=prasert ศิริพร=siriporn สมชาย=somchai",
        "แก้วมณี=kaewmanee จันทร์เพ็ญ=chanpen ทองดี=thongdee บุญมี=boonmee วงศ์สวัสดิ์=wongsawat ศรีสุข=srisuk",
    ),
    Culture(
        "VN",
        "Ánh Bảo Cường Diễm Dũng Đức Giang Hằng Hương Khánh Linh Mỹ Ngọc Phương Quỳnh Sơn Thảo Trúc Tuấn Uyên Vũ Yến",
        "Bùi Đặng Đỗ Dương Hồ Hoàng Huỳnh Lê Lý Ngô Nguyễn Phạm Phan Trần Trịnh Võ Vương",
        " ",
    ),
    Culture(
        "CN SG",
        "伟=wei 芳=fang 秀英=xiuying 娜=na 敏=min 静=jing 丽=li 强=qiang 磊=lei 洋=yang 艳=yan 勇=yong 军=jun 杰=jie "
        "桂英=guiying 梓涵=zihan 浩然=haoran 诗雨=shiyu 俊熙=junxi 欧阳=ouyang",
        "王=wang 李=li 张=zhang 刘=liu 陈=chen 杨=yang 黄=huang 赵=zhao 吴=wu "
        "周=zhou 徐=xu 孙=sun 马=ma 朱=zhu 胡=hu "
        "郭=guo 何=he 高=gao 林=lin 司马=sima",
        "",
    ),
    Culture(
        "JP",
        "蒼=aoi 健太=kenta 結衣=yui 翔=sho 美咲=misaki 大輔=daisuke さくら=sakura 直樹=naoki 恵子=keiko 拓也=takuya "
        "陽菜=hina 誠=makoto マリ=mari 悠斗=yuto",
        "佐藤=sato 鈴木=suzuki 高橋=takahashi 田中=tanaka 伊藤=ito 渡邊=watanabe "
        "山本=yamamoto 中村=nakamura 小林=kobayashi "
        "加藤=kato 齋藤=saito 髙田=takada",
        " ",
    ),
    Culture(
        "KR",
        "민준=minjun 서연=seoyeon 지호=jiho 하은=haeun 도윤=doyun 수아=sua "
        "은우=eunwoo 지민=jimin 현우=hyunwoo 유진=yujin",
        "김=kim 이=lee 박=park 최=choi 정=jeong 강=kang 조=cho 윤=yoon 장=jang 임=lim 한=han 오=oh",
        "",
    ),
    Culture(
        "NG GH",
        "Adéọlá Babajídé Chiamaka Chinẹdu Ẹniọlá Fọláṣadé Ifẹ́olúwa Kwabena Ngọzi "
        "Olúwaṣeun Ọlámidé Ṣadé Tèmítọ́pẹ́ Uche Yaw",
        "Adéyẹmí Afọlábí Balógun Boateng Èkwúnifé Mensah Ògúnbíyì Okafor Ọbásanjọ́ Owusu Ṣóyínká",
    ),
    Culture(
        "ET",
        "አለም=alem በቀለ=bekele ገነት=genet ሐና=hanna ዮሐንስ=yohannes ሰላም=selam ተስፋዬ=tesfaye",
        "ኃይሌ=haile መኮንን=mekonnen ታደሰ=tadesse ወልደ=wolde ግርማ=girma",
    ),
    Culture(
        "KE ZA",
        "Amani Baraka Imani Juma Khethiwe Lerato Makena Njeri Nomvula Sipho Thabo Wanjiru Zanele",
        "Dlamini Kamau Kiprotich Mwangi Ndlovu Nkosi Ochieng Otieno Wambui Zulu van_der_Merwe",
    ),
)

CITIES = {
    "AE": "Dubai Sharjah",
    "AM": "Yerevan",
    "AT": "Wien Graz Linz",
    "BG": "София Пловдив",
    "BR": "São_Paulo Recife Curitiba",
    "CH": "Zürich Genève Lugano",
    "CN": "上海 深圳 成都",
    "CZ": "Praha Brno",
    "DE": "Berlin München Köln Leipzig",
    "DK": "København Århus",
    "EG": "القاهرة الإسكندرية",
    "ES": "Madrid València A_Coruña",
    "ET": "Addis_Ababa",
    "FI": "Helsinki Jyväskylä",
    "FR": "Paris Orléans Saint-Étienne",
    "GB": "London Manchester Leeds",
    "GE": "თბილისი",
    "GH": "Accra Kumasi",
    "GR": "Αθήνα Θεσσαλονίκη",
    "HU": "Budapest Győr",
    "IE": "Dublin Cork",
    "IL": "תל_אביב חיפה",
    "IN": "Bengaluru Chennai मुंबई",
    "IS": "Reykjavík Akureyri",
    "IT": "Milano Forlì Bari",
    "JP": "東京 大阪",
    "KE": "Nairobi Mombasa",
    "KR": "서울 부산",
    "LK": "Colombo",
    "MX": "México Mérida",
    "NG": "Lagos Abuja",
    "NO": "Oslo Tromsø",
    "PL": "Łódź Kraków Warszawa",
    "PT": "Lisboa Évora",
    "RO": "București Iași",
    "SE": "Malmö Göteborg Umeå",
    "SG": "Singapore",
    "TH": "กรุงเทพฯ เชียงใหม่",
    "TR": "İstanbul İzmir Eskişehir",
    "UA": "Київ Львів",
    "US": "Chicago Austin Portland",
    "VN": "Hà_Nội Đà_Nẵng",
    "ZA": "Cape_Town Durban",
}
"""Country to its offices; an underscore stands for a blank."""

COMPANIES = (
    "Nordlicht Energy AG",
    "Nordlicht Retail Ltd",
    "Nordlicht Logistics GmbH",
    "Nordlicht Digital SARL",
    "Fjell & Sons A/S",
)

MAIL_DOMAINS = ("example.com", "example.org", "example.net", "example.com", "fjell.example.org")
"""In the order of ``COMPANIES``."""

DEPARTMENTS = (
    "Sales",
    "Marketing",
    "Finance",
    "People & Culture",
    "IT Operations",
    "Software Engineering",
    "Research & Development",
    "Customer Service",
    "Logistics",
    "Procurement",
    "Legal",
    "Facilities",
)

TITLES = (
    ("Chief Executive Officer", "Managing Director"),
    ("Vice President, {}", "Chief Officer, {}"),
    ("Director, {}", "Regional Director, {}"),
    ("Head of {}", "Senior Manager, {}"),
    ("Team Lead, {}", "Manager, {}"),
    ("Senior Specialist, {}", "Principal Consultant, {}"),
    ("Specialist, {}", "Analyst, {}", "Coordinator, {}", "Associate, {}"),
)
"""Job titles by level in the management tree; ``{}`` is the department."""

TEAMS = (
    "Solar Rollout",
    "Works Council",
    "Fire Wardens",
    "Payroll Approvers",
    "Data Stewards",
    "Kubernetes Admins",
    "Brand Refresh",
    "Night Shift",
    "Accessibility Guild",
    "Incident Response",
    "Green Fleet",
    "Travel Booking",
    "Onboarding Buddies",
    "Security Champions",
    "Grid Balancing",
    "Customer Panel",
)
PLACES = ("North", "South", "East", "West", "Central", "Coast", "Alps", "Islands", "Delta", "Highlands")
