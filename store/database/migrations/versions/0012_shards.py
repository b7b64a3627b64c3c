"""shards of bulk embedding"""

import sqlalchemy as sa
from alembic import op

revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('embedding_shard',
    sa.Column('project_id', sa.Integer(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('space', sa.Text(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('first_id', sa.Integer(), nullable=False),
    sa.Column('last_id', sa.Integer(), nullable=False),
    sa.Column('claimed_by', sa.Text(), nullable=True),
    sa.Column('fence', sa.Integer(), nullable=False),
    sa.Column('done_by', sa.Text(), nullable=True),
    sa.Column('done_at', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], name=op.f('fk_embedding_shard_project_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('project_id', 'number', name=op.f('pk_embedding_shard'))
    )


def downgrade() -> None:
    op.drop_table('embedding_shard')
