"""What is known: published settings with their citations, rules, what kinds of data ask for, and the bibliography."""

from maestune.recipes.applying import Applied as Applied
from maestune.recipes.applying import apply as apply
from maestune.recipes.bibliography import Entry as Entry
from maestune.recipes.bibliography import bibliography as bibliography
from maestune.recipes.bibliography import cite as cite
from maestune.recipes.bibliography import unknown as unknown
from maestune.recipes.catalogue import bibtex_of as bibtex_of
from maestune.recipes.catalogue import catalogue as catalogue
from maestune.recipes.catalogue import find as find
from maestune.recipes.domains import Domain as Domain
from maestune.recipes.domains import apply_domain as apply_domain
from maestune.recipes.domains import domains as domains
from maestune.recipes.domains import find_domain as find_domain
from maestune.recipes.recipe import Recipe as Recipe
from maestune.recipes.recipe import Reported as Reported
from maestune.recipes.recipe import recipe_from as recipe_from
from maestune.recipes.rules import RULES as RULES
from maestune.recipes.rules import Case as Case
