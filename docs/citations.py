"""The papers that docstrings cite, so that the reference links each one. tests/test_docs.py holds the list complete."""

import re

ARXIV = "https://arxiv.org/abs/"
STYLEGAN2, ADA = f"{ARXIV}1912.04958", f"{ARXIV}2006.06676"
# Authors and year as docstrings write them. "Karras et al. 2020" is StyleGAN2, but in ADA_MODULES the paper on ADA.
PAPERS = {
    "Abdal, Qin and Wonka 2019": f"{ARXIV}1904.03189",
    "Arjovsky et al. 2017": f"{ARXIV}1701.07875",
    "Bello et al. 2005": "https://doi.org/10.1109/TSA.2005.851998",
    "Binkowski et al. 2018": f"{ARXIV}1801.01401",
    "Burt and Adelson 1983": "https://doi.org/10.1109/TCOM.1983.1095851",
    "Catmull and Rom (1974": "https://doi.org/10.1016/B978-0-12-079050-0.50020-5",
    "Chan, Golub and LeVeque (1979": "http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf",
    "Gatys et al. 2016": f"{ARXIV}1606.05897",
    "Goodfellow et al. 2014": f"{ARXIV}1406.2661",
    "Gulrajani et al. 2017": f"{ARXIV}1704.00028",
    "Heusel et al. 2017": f"{ARXIV}1706.08500",
    "Higham 2008": "https://doi.org/10.1137/1.9780898717778",
    "Huang and Belongie 2017": f"{ARXIV}1703.06868",
    "Huang et al. 2024": f"{ARXIV}2501.05441",
    "Hägele et al. 2024": f"{ARXIV}2405.18392",
    "Härkönen et al. 2020": f"{ARXIV}2004.02546",
    "Jolicoeur-Martineau 2018": f"{ARXIV}1807.00734",
    "Karras et al. 2018": f"{ARXIV}1710.10196",
    "Karras et al. 2019": f"{ARXIV}1812.04948",
    "Karras et al. 2020": STYLEGAN2,
    "Karras et al. 2024": f"{ARXIV}2312.02696",
    "Karras, Laine and Aila 2019": f"{ARXIV}1812.04948",
    "Krizhevsky 2014": f"{ARXIV}1404.5997",
    "Kynkäänniemi et al. 2019": f"{ARXIV}1904.06991",
    "Li et al. 2017": f"{ARXIV}1705.08086",
    "Mescheder et al. 2018": f"{ARXIV}1801.04406",
    "Mokady et al. 2022": f"{ARXIV}2202.12211",
    "Naeem et al. 2020": f"{ARXIV}2002.09797",
    "Pan et al. 2023": f"{ARXIV}2305.10973",
    "Pinkney and Adler 2020": f"{ARXIV}2010.05334",
    "Roich et al. 2021": f"{ARXIV}2106.05744",
    "Salimans et al. 2016": f"{ARXIV}1606.03498",
    "Shen and Zhou 2021": f"{ARXIV}2007.06600",
    "Shen et al. 2020": f"{ARXIV}1907.10786",
    "Shoemake 1985": "https://doi.org/10.1145/325165.325242",
    "Simonyan and Zisserman 2015": f"{ARXIV}1409.1556",
    "Sun, Feng and Saenko 2016": f"{ARXIV}1511.05547",
    "Szegedy et al. 2015": f"{ARXIV}1512.00567",
    "Zhang, Zou, He and Sun 2015": f"{ARXIV}1505.06798",
    "Zhang et al. 2018": f"{ARXIV}1801.03924",
}
ADA_MODULES = ("stylegen.training.augment", "stylegen.training.doctor")
CITATION = re.compile(r"(?:[A-Z][\w'’-]+(?:, | and ))*[A-Z][\w-]+(?: et al\.?)? \(?(?:19|20)\d\d\b")


def paper_of(citation: str, module: str = "") -> str | None:
    """The address of a cited paper; None if the list has none."""
    for authors, address in PAPERS.items():
        if citation.endswith(authors):
            return ADA if address == STYLEGAN2 and module.startswith(ADA_MODULES) else address
    return None


def linked(text: str, module: str) -> str:
    """A docstring, in reStructuredText, with a link for each citation that stands within a line."""

    def link(match: re.Match[str]) -> str:
        address = paper_of(match[0], module)
        return f"`{match[0]} <{address}>`__" if address else match[0]

    return CITATION.sub(link, text)
