"""The first tables."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies: list = []
    operations = [
        migrations.CreateModel(
            name="Shelf",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100, unique=True)),
            ],
        ),
        migrations.CreateModel(
            name="Item",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("count", models.IntegerField(default=0)),
                ("added", models.DateTimeField(auto_now_add=True)),
                (
                    "shelf",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="items", to="shop.shelf"),
                ),
            ],
        ),
    ]
